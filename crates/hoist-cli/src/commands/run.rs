//! `hoist run`: a command of its own, once, as a process of a service.

use clap::Args;
use hoist_api::endpoints::RunCreate;
use hoist_api::types::{Empty, RunRequest};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::session::{self, Signals, TerminalArgs};

/// What `hoist run --help` ends with.
const AFTER: &str = "\
One string is run by `sh -c` within the app: hoist run web 'psql $POSTGRES_URL'. Several words, and words after `--`,
are executed as they are. Flags of this command come before the service.

The exit code is the command's own; 255 when it is not known. The process ends with this command: when this command is
killed, within 10 s and the time that the service has to stop. Ctrl-C without a terminal interrupts the process, and the
second one leaves it. A one-off may run for 24 hours.";

#[derive(Debug, Args)]
#[command(after_help = AFTER, override_usage = "hoist run [OPTIONS] SERVICE CMD...")]
pub(crate) struct Run {
    #[command(flatten)]
    app: AppArgs,
    /// Run this release [default: the active one]
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    /// Print the process's id and let it run; its output goes to the app's log
    #[arg(short, long, conflicts_with_all = ["on", "off"])]
    detach: bool,
    #[command(flatten)]
    terminal: TerminalArgs,
    /// The service whose environment, user, limits and volumes it gets, and the command
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true,
          value_names = ["SERVICE", "CMD"])]
    words: Vec<String>,
}

pub(crate) async fn run(args: Run, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let (service, command) = Command::split("run", args.words)?;
    let path = context.app_path(&args.app)?;
    let terminal = args
        .terminal
        .terminal(context.environment)
        .filter(|_| !args.detach);
    let request = RunRequest {
        service,
        shell: command.shell,
        command: command.words,
        release: args.release,
        attach: !args.detach,
        terminal: terminal.clone(),
    };
    let mut signals = Signals::catch()?;
    let client = context.client()?;
    let begun = client.call::<RunCreate>(&path, &Empty {}, &request);
    let begun = signals.unless(begun).await?;
    match begun.session {
        Some(session) => session::attach(session, terminal.as_ref(), signals, context).await,
        None if context.out.json() => context.out.print_json(&begun.process),
        None => context.out.line(&begun.process.id),
    }
}

/// A command as it is given to run or exec.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) words: Vec<String>,
    /// It is one string, for a shell within the app.
    pub(super) shell: bool,
}

impl Command {
    /// Takes the first word off: what it is run in, and the command.
    pub(super) fn split(name: &str, mut words: Vec<String>) -> Result<(String, Self), CliError> {
        let usage = |message: String| {
            CliError::usage(
                message,
                format!("`hoist {name} --help` shows how it is written"),
            )
        };
        let first = words.remove(0);
        if first.starts_with('-') {
            return Err(usage(format!("`{first}` is not a flag of hoist {name}")));
        }
        let exact = words.first().is_some_and(|word| word == "--");
        if exact {
            words.remove(0);
        }
        if words.is_empty() {
            return Err(usage("there is no command".to_owned()));
        }
        if words[0].trim().is_empty() {
            return Err(usage("the command is empty".to_owned()));
        }
        let shell = words.len() == 1 && !exact;
        Ok((first, Self { words, shell }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_string_is_for_a_shell_and_words_are_not() {
        let split = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            Command::split("run", words).map(|(first, command)| {
                let words = command.words.join("|");
                format!(
                    "{first} {} {words}",
                    if command.shell { "shell" } else { "words" }
                )
            })
        };
        for (words, expected) in [
            (&["web", "echo $A"][..], "web shell echo $A"),
            (&["web", "echo", "$A"], "web words echo|$A"),
            (&["web", "--", "a b"], "web words a b"),
            (&["web", "--", "--", "x"], "web words --|x"),
            (&["web", "ls", "--json", "-a"], "web words ls|--json|-a"),
        ] {
            assert_eq!(split(words).expect("a command"), expected);
        }
        for words in [
            &["--json5", "web", "ls"][..],
            &["web", "--"],
            &["web"],
            &["web", ""],
            &["web", "--", " ", "x"],
        ] {
            assert_eq!(split(words).expect_err("refused").exit_code(), 2);
        }
    }
}
