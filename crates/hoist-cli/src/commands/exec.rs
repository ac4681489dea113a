//! `hoist exec`: a command beside a running process.

use clap::Args;
use hoist_api::endpoints::ExecCreate;
use hoist_api::types::{BesidePath, Empty, ExecRequest};

use super::run::Command;
use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::session::{self, Signals, TerminalArgs};

/// What `hoist exec --help` ends with.
const AFTER: &str = "\
One string is run by `sh -c` within the process: hoist exec 3f2a 'echo $PORT'. Several words, and words after `--`, are
executed as they are. Flags of this command come before the process.

The exit code is the command's own; 255 when it is not known. The command ends with this one: when this one is killed,
within 10 s. It ends with the process that it runs beside, too.";

#[derive(Debug, Args)]
#[command(after_help = AFTER, override_usage = "hoist exec [OPTIONS] PID CMD...")]
pub(crate) struct Exec {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    terminal: TerminalArgs,
    /// The process, as `hoist ps` shows it, or as much of its id as names no other, or a service; and the command
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true,
          value_names = ["PID", "CMD"])]
    words: Vec<String>,
}

pub(crate) async fn run(args: Exec, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let (process, command) = Command::split("exec", args.words)?;
    let app = context.app(&args.app)?;
    let path = BesidePath { app, process };
    let terminal = args.terminal.terminal(context.environment);
    let request = ExecRequest {
        shell: command.shell,
        command: command.words,
        terminal: terminal.clone(),
    };
    let mut signals = Signals::catch()?;
    let client = context.client()?;
    let begun = client.call::<ExecCreate>(&path, &Empty {}, &request);
    let begun = signals.unless(begun).await?;
    session::attach(begun.session, terminal.as_ref(), signals, context).await
}
