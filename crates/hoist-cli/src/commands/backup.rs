//! `hoist rack backup` and `rack restore`: a rack in one file, and a rack made from one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hoist_api::Time;
use serde_json::json;

use super::rack::by_url;
use crate::context::Context;
use crate::error::CliError;
use crate::output::bytes;
use crate::starter::{BackupContents, BackupWish, Passphrase, Restored};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write
    file: PathBuf,
    /// Leave out slugs: apps of the backup must be deployed again
    #[arg(long)]
    without_slugs: bool,
    /// Take volumes along, as they are found
    #[arg(long)]
    with_volumes: bool,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The file that `rack backup` wrote
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
}

/// What becomes of the key of environments.
#[derive(Debug, Args)]
struct KeyArgs {
    /// A file whose first line is the passphrase of the key [env: HOIST_BACKUP_PASSPHRASE]
    #[arg(long, value_name = "FILE", conflicts_with = "without_key")]
    passphrase_file: Option<PathBuf>,
    /// Leave the key out: without it nothing opens values of variables
    #[arg(long)]
    without_key: bool,
}

pub(super) async fn backup(args: Backup, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    if by_url(context) {
        return Err(CliError::refused(
            "a backup is written on the rack's own machine",
            "run it there, without HOIST_URL, as the user that the rack runs as",
        ));
    }
    let file = context.environment.directory.join(&args.file);
    if fs::symlink_metadata(&file).is_ok() {
        return Err(CliError::refused(
            format!("{} is there already", file.display()),
            "name a file that is not, or remove it first",
        ));
    }
    let passphrase = passphrase(&args.key, Asking::Twice, context)?;
    let has_passphrase = passphrase.is_some();
    let (data_dir, starter) = (context.data_dir()?, context.starter()?);
    context.out.begin("Backing up rack")?;
    let half = Half::beside(&file)?;
    let wish = BackupWish {
        passphrase,
        without_slugs: args.without_slugs,
        with_volumes: args.with_volumes,
    };
    let contents = starter.backup(&data_dir, wish, half.writer()?).await?;
    let size = half.finish(&file)?;
    context
        .out
        .done(&format!("OK ({}, {})", describe(&contents), bytes(size)))?;
    if !has_passphrase {
        let key = data_dir.join("key");
        context.out.warn(&format!(
            "the key is not in it: without {} nothing opens values of variables; keep it elsewhere",
            key.display()
        ))?;
    }
    let shown = file.display().to_string();
    if context.out.json() {
        context.out.print_json(&as_json(&contents, &shown))
    } else {
        context.out.label("Backup", &shown)
    }
}

pub(super) async fn restore(args: Restore, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let file = context.environment.directory.join(&args.file);
    let (data_dir, starter) = (context.data_dir()?, context.starter()?);
    let key_left = args.key.without_key;
    let passphrase = passphrase(&args.key, Asking::Never, context)?;
    context.out.begin("Restoring rack")?;
    let restored = starter.restore(&file, &data_dir, passphrase, key_left);
    let contents = match restored.await? {
        Restored::Done(contents) => contents,
        Restored::Sealed(error) if !context.environment.stderr_terminal => {
            return Err(error.into());
        }
        Restored::Sealed(_) => {
            context.out.done("its key is sealed")?;
            let passphrase = ask("Passphrase of the key: ", context)?;
            context.out.begin("Restoring rack")?;
            let restored = starter.restore(&file, &data_dir, passphrase, key_left);
            match restored.await? {
                Restored::Done(contents) => contents,
                Restored::Sealed(error) => return Err(error.into()),
            }
        }
    };
    context.out.done(&format!("OK ({})", describe(&contents)))?;
    let shown = data_dir.display().to_string();
    if !contents.key {
        context.out.warn(&format!(
            "the key is not in it: bring the old rack's file `key` to {shown}/key (mode 0600) before the rack starts"
        ))?;
    }
    if context.out.json() {
        context.out.print_json(&as_json(&contents, &shown))
    } else {
        context.out.label("Data", &shown)?;
        context
            .out
            .note("`hoist rack start` starts it, with a new token; apps that ran come up again")
    }
}

fn describe(contents: &BackupContents) -> String {
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let mut words = vec![
        count(contents.apps.len(), "app"),
        count(contents.slugs as usize, "slug"),
    ];
    if contents.volumes > 0 {
        words.push(count(contents.volumes as usize, "volume"));
    }
    words.push(if contents.key { "the key" } else { "no key" }.to_owned());
    words.join(", ")
}

fn as_json(contents: &BackupContents, place: &str) -> serde_json::Value {
    json!({
        "place": place,
        "apps": contents.apps,
        "slugs": contents.slugs,
        "volumes": contents.volumes,
        "key": contents.key,
        "created": Time(contents.created_ms),
        "version": contents.version,
    })
}

/// Whether a terminal may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// A new passphrase, which a slip of the finger would lose.
    Twice,
    Never,
}

/// The passphrase: of the file, of the environment, or of a person.
fn passphrase(
    args: &KeyArgs,
    asking: Asking,
    context: &mut Context<'_, '_>,
) -> Result<Option<Passphrase>, CliError> {
    if args.without_key {
        return Ok(None);
    }
    if let Some(path) = &args.passphrase_file {
        let path = context.environment.directory.join(path);
        let text = fs::read_to_string(&path)
            .map_err(|source| CliError::io(format!("read {}", path.display()), source))?;
        let line = text.lines().next().unwrap_or_default();
        let empty = || {
            CliError::refused(
                format!("{} has no passphrase in its first line", path.display()),
                "write one, or use --without-key",
            )
        };
        return Passphrase::new(line).ok_or_else(empty).map(Some);
    }
    if let Some(passphrase) = &context.environment.backup_passphrase {
        return Ok(Some(passphrase.clone()));
    }
    if asking == Asking::Never || !context.environment.stderr_terminal {
        return Ok(None);
    }
    let first = ask(
        "New passphrase for the key (empty leaves the key out): ",
        context,
    )?;
    if first.is_none() {
        return Ok(None);
    }
    if ask("The same again: ", context)? == first {
        Ok(first)
    } else {
        Err(CliError::refused("the two passphrases differ", "try again"))
    }
}

/// Asks the person at the terminal, without showing what is typed.
fn ask(question: &str, context: &mut Context<'_, '_>) -> Result<Option<Passphrase>, CliError> {
    debug_assert!(context.environment.stderr_terminal);
    match rpassword::prompt_password(question) {
        Ok(typed) => Ok(Passphrase::new(&typed)),
        // Ctrl-C; the terminal is as it was.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(CliError::Interrupted { goes_on: None })
        }
        // Ctrl-D is no answer, and must not leave the key out.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            context.out.chatter("")?;
            Err(CliError::refused("no passphrase was given", "try again"))
        }
        Err(source) => Err(CliError::io("read a passphrase from the terminal", source)),
    }
}

/// A file that is written beside its place, and goes unless it gets there.
struct Half(PathBuf);

impl Half {
    fn beside(file: &Path) -> Result<Self, CliError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let unique = format!(".{name}.half-{}", std::process::id());
        Ok(Self(file.with_file_name(unique)))
    }

    /// Only its owner can read it.
    fn writer(&self) -> Result<File, CliError> {
        let mut options = File::options();
        let made = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.0);
        made.map_err(|source| self.failed(source))
    }

    /// Makes sure that it is on disk, and gives it its name. Answers its size.
    fn finish(self, file: &Path) -> Result<u64, CliError> {
        let finish = || {
            let written = File::open(&self.0)?;
            written.sync_all()?;
            // Not over a file that came meanwhile.
            fs::hard_link(&self.0, file)?;
            let parent = file
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(written.metadata()?.len())
        };
        finish().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> CliError {
        CliError::io(format!("write {}", self.0.display()), source)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
