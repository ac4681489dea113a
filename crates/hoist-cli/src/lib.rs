//! The command line: one file per command, and the words it prints.
//!
//! [`main`] is all that the binary calls. Commands get a [`context::Context`]: where to print, which rack to ask, and
//! the surroundings of this run. Nothing else reads the environment or prints.

mod args;
mod commands;
mod context;
pub mod environment;
mod error;
mod flow;
mod output;
mod package;
mod settings;
mod starter;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

pub use environment::Environment;
pub use starter::{BoxFuture, RackError, RackOptions, RackStarter, RunningRack, StoppedApps};

use args::Cli;
use context::Context;
use error::CliError;
use output::Output;

/// Runs one command and answers with its exit code.
///
/// `args` begins with the program's name. Without a `starter` (a client-only build) commands that need a rack in this
/// process say so.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    starter: Option<&dyn RackStarter>,
) -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(run(args, environment, starter, &mut stdout, &mut stderr))
}

/// [`main`] with the places to print to as arguments.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    starter: Option<&dyn RackStarter>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return print_usage(&error, stdout, stderr),
    };
    let mut out = Output::new(stdout, stderr, environment, cli.globals.json);
    let ended = block_on(cli, environment, starter, &mut out);
    // Nothing drawn in place outlives the command. Nothing more can be done when standard error is closed.
    let _ = out.clear();
    match ended {
        Ok(()) => out.flush().map_or_else(|error| error.exit_code(), |()| 0),
        Err(error) => {
            // Nothing more can be done when standard error is closed as well.
            let _ = error.print(&mut out);
            error.exit_code()
        }
    }
}

/// One thread does for a client; a rack in this process wants its own.
fn block_on(
    cli: Cli,
    environment: &Environment,
    starter: Option<&dyn RackStarter>,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut runtime = if cli.command.holds_rack() {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|source| CliError::io("start the runtime", source))?;
    let mut context = Context::new(cli.globals, environment, starter, out);
    let ended = runtime.block_on(commands::run(cli.command, &mut context));
    // A reader of the source that was given up must not keep the process.
    runtime.shutdown_background();
    ended
}

/// Help and version go to standard output and are no failure; wrong usage is 2.
fn print_usage(error: &clap::Error, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let text = error.render().to_string();
    let print = |sink: &mut dyn Write| sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
    // Nothing more can be done when nobody reads.
    let _ = if error.use_stderr() {
        print(stderr)
    } else {
        print(stdout)
    };
    u8::try_from(error.exit_code()).unwrap_or(2)
}
