//! `hoist env edit`: the variables in the user's editor, and one new release of what was saved.
//!
//! The text is nobody else's (mode 0600, in a directory with 0700) and goes with the command, however that ends. It stays
//! only when it could not be used, so that no work is lost; then it is named.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use hoist_api::endpoints::EnvGet;
use hoist_api::types::{AppPath, Empty, EnvQuery, EnvUpdateRequest};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::given::variables;
use super::{Change, assignment, go_on, make};
use crate::context::Context;
use crate::error::CliError;
use crate::interrupt::read_line;

/// What a shell answers for a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

pub(super) async fn run(change: Change, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let ends = async {
        let (mut term, mut hang_up) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        );
        tokio::select! {
            _ = term.recv() => {}
            _ = hang_up.recv() => {}
        }
        Ok(())
    };
    tokio::select! {
        done = edit(change, context) => done,
        ended = ends => {
            ended.map_err(|source| CliError::io("wait for signals", source))?;
            Err(CliError::Interrupted { goes_on: None })
        }
    }
}

async fn edit(change: Change, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&change.app)?;
    let client = context.client()?;
    let path = AppPath { app: app.clone() };
    let query = EnvQuery {
        reveal: true,
        from: change.from.from.clone(),
    };
    let seen = client.call::<EnvGet>(&path, &query, &Empty {}).await?;
    let shown = seen.env.into_iter();
    let before: Option<BTreeMap<_, _>> = shown.map(|(name, value)| Some((name, value?))).collect();
    let before = before.ok_or_else(|| {
        CliError::refused(
            "this token does not show values of variables",
            "use one that may deploy",
        )
    })?;
    let mut draft = Draft::new(&app, &before)?;
    let Some(after) = edited(&mut draft, &before, context).await? else {
        return context.out.note("nothing changed: no new release");
    };
    let body = EnvUpdateRequest {
        set: after,
        replace: true,
        expected: Some(seen.release.unwrap_or_default()),
        ..EnvUpdateRequest::default()
    };
    let made = make("Setting variables", body, &change, (&client, &app), context).await;
    let release = match made {
        Ok(release) => release,
        Err(error) => {
            let kept = draft.keep();
            context
                .out
                .chatter(&format!("your text is kept in {}", kept.display()))?;
            return Err(error);
        }
    };
    drop(draft);
    go_on(release, change, (&client, app), context).await
}

/// What the user made of the variables; none when they are as they were.
async fn edited(
    draft: &mut Draft,
    before: &BTreeMap<String, String>,
    context: &mut Context<'_, '_>,
) -> Result<Option<BTreeMap<String, String>>, CliError> {
    loop {
        let ended = run_editor(draft, context).await?;
        if ended.signal() == Some(Signal::SIGINT as i32) || ended.code() == Some(INTERRUPTED) {
            return Err(CliError::Interrupted { goes_on: None });
        }
        let bytes = fs::read(&draft.file).unwrap_or_default();
        let problem = match draft.read(&bytes, ended, before) {
            Ok(after) if after == *before => return Ok(None),
            Ok(after) => return Ok(Some(after)),
            Err(problem) if bytes == draft.text.as_bytes() => return Err(problem),
            Err(problem) => problem,
        };
        if context.asks && again(&problem, context).await? {
            continue;
        }
        let kept = draft.keep();
        let kept = kept.display();
        return Err(CliError::refused(
            problem.to_string(),
            format!(
                "your text is kept in {kept}: mend it, then `hoist env set --replace --file {kept} -a {}`",
                draft.app
            ),
        ));
    }
}

/// Whether the user wants to go on with a text that cannot be used.
async fn again(problem: &CliError, context: &mut Context<'_, '_>) -> Result<bool, CliError> {
    context.out.error(&problem.to_string(), None)?;
    context.out.ask("edit it again (Enter), or leave it (l)?")?;
    let answer = read_line().await.ok().flatten();
    context.out.answered();
    let answer = answer.map(|answer| answer.trim().to_lowercase());
    Ok(answer.is_some_and(|answer| answer.is_empty() || answer.starts_with(['e', 'y'])))
}

/// Runs the editor on the terminal. Ctrl-C is the editor's meanwhile.
async fn run_editor(draft: &Draft, context: &mut Context<'_, '_>) -> Result<ExitStatus, CliError> {
    let editor = context.environment.editor.clone();
    let editor = editor.unwrap_or_else(|| OsString::from("vi"));
    context.out.flush()?;
    let _held = context.interrupts.hold();
    let mut script = editor.clone();
    // An editor may come with arguments of its own: `code --wait`.
    script.push(" \"$@\"");
    let child = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(&editor)
        .arg(&draft.file)
        .kill_on_drop(true)
        .spawn();
    let ended = match child {
        Ok(mut child) => child.wait().await,
        Err(error) => Err(error),
    };
    ended.map_err(|source| CliError::io("run the editor", source))
}

/// The text that is edited.
struct Draft {
    app: String,
    directory: TempDir,
    file: PathBuf,
    text: String,
}

impl Draft {
    fn new(app: &str, variables: &BTreeMap<String, String>) -> Result<Self, CliError> {
        let mut text = format!(
            "# Variables of {app}, one NAME=value per line. Saving makes a new release; leaving them as they are makes none.\n\
             # Quotes hold a value of several lines together. Lines like this one are not kept.\n"
        );
        for (name, value) in variables {
            text.push_str(&assignment(name, Some(value)));
            text.push('\n');
        }
        let failed = |source| CliError::io("write a file for the editor", source);
        let directory = tempfile::Builder::new()
            .prefix("hoist-env-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(failed)?;
        let file = directory.path().join(format!("{app}.env"));
        let mut options = OpenOptions::new();
        let mut written = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .map_err(failed)?;
        written.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Self {
            app: app.to_owned(),
            directory,
            file,
            text,
        })
    }

    /// The variables that were saved. Whatever says that saving was not finished is a refusal.
    fn read(
        &self,
        bytes: &[u8],
        ended: ExitStatus,
        before: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, CliError> {
        if !ended.success() {
            // The shell tells a signal as an exit code, unless it made way for the editor.
            let told = ended.code().filter(|code| (129..160).contains(code));
            let how = match (ended.code(), ended.signal().or(told.map(|code| code - 128))) {
                (_, Some(signal)) => format!("was ended by signal {signal}"),
                (Some(127), _) => "could not be run".to_owned(),
                (code, _) => format!("ended with exit {}", code.unwrap_or_default()),
            };
            return Err(CliError::refused(
                format!("the editor {how}; nothing changed"),
                "VISUAL or EDITOR names the editor",
            ));
        }
        let after = variables(bytes, &format!("{}.env", self.app))?;
        if after.is_empty() && !before.is_empty() {
            return Err(CliError::refused(
                "no variable is left in the file; nothing changed",
                format!("`hoist env unset KEY... -a {}` removes variables", self.app),
            ));
        }
        Ok(after)
    }

    /// Leaves the text where it is.
    fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.file.clone()
    }
}
