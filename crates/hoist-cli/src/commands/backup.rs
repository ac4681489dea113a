//! `hoist rack backup` and `rack restore`: a rack in one file, and a rack made from one.

use std::path::PathBuf;

use clap::Args;
use hoist_api::Time;
use serde_json::json;

use super::rack::by_url;
use crate::context::Context;
use crate::error::CliError;
use crate::half::Half;
use crate::output::bytes;
use crate::passphrase::{Asking, Purpose, ask, passphrase};
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
    let half = Half::beside(&file)?;
    let passphrase = key_passphrase(&args.key, Asking::Twice, context)?;
    let has_passphrase = passphrase.is_some();
    let (data_dir, starter) = (context.data_dir()?, context.starter()?);
    context.out.begin("Backing up rack")?;
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
    let passphrase = key_passphrase(&args.key, Asking::Never, context)?;
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

fn key_passphrase(
    args: &KeyArgs,
    asking: Asking,
    context: &mut Context<'_, '_>,
) -> Result<Option<Passphrase>, CliError> {
    const PURPOSE: Purpose = Purpose {
        question: "New passphrase for the key (empty leaves the key out): ",
        without: "--without-key",
    };
    if args.without_key {
        return Ok(None);
    }
    passphrase(args.passphrase_file.as_deref(), asking, PURPOSE, context)
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
