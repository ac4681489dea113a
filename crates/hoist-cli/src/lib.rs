//! The command line: one file per command, and the words it prints.
//!
//! [`main`] is all that the binary calls. Commands get a [`context::Context`]: where to print, which rack to ask, and
//! the surroundings of this run. Nothing else reads the environment or prints.

mod archive;
mod args;
mod commands;
mod context;
pub mod environment;
mod error;
mod flow;
mod follow;
mod grammar;
mod half;
mod interrupt;
mod lineage;
mod nearest;
mod output;
mod package;
mod passphrase;
mod session;
mod settings;
mod starter;
mod upload;
mod usage;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;

pub use environment::Environment;
pub use starter::{
    BackupContents, BackupWish, BoxFuture, Passphrase, RackError, RackOptions, RackStarter,
    Restored, RunningRack, StoppedApps,
};

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
    let args: Vec<_> = args.into_iter().collect();
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(Unparsed::Shown(error)) => return print_help(&error, stdout),
        Err(Unparsed::Wrong(error)) => {
            let json = args.iter().any(|word| word == "--json");
            let mut out = Output::new(stdout, stderr, environment, json);
            // Nothing more can be done when standard error is closed.
            let _ = error.print(&mut out);
            return error.exit_code();
        }
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

/// Why arguments are no command to run.
enum Unparsed {
    /// They ask for help or the version.
    Shown(clap::Error),
    /// They are wrong.
    Wrong(CliError),
}

/// `hoist` alone and `hoist help` show what there is; `hoist help COMMAND` is `hoist COMMAND --help`.
fn parse(args: &[OsString]) -> Result<Cli, Unparsed> {
    let mut grammar = grammar::grammar();
    let matches = match args {
        [program] => grammar.try_get_matches_from_mut([program, &OsString::from("--help")]),
        _ => grammar.try_get_matches_from_mut(args),
    };
    let wrong = |error: clap::Error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Unparsed::Shown(error),
        _ => Unparsed::Wrong(usage::explain(&error, args, &grammar::grammar())),
    };
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    match cli.map_err(wrong)? {
        Cli {
            command: args::Command::Help { command },
            ..
        } => {
            let program = args.first().cloned().unwrap_or_default();
            let words = command.into_iter().map(OsString::from);
            let asked = std::iter::once(program).chain(words);
            let asked: Vec<_> = asked.chain([OsString::from("--help")]).collect();
            parse(&asked)
        }
        cli => Ok(cli),
    }
}

fn print_help(error: &clap::Error, stdout: &mut dyn Write) -> u8 {
    let text = error.render().to_string();
    // Nothing more can be done when nobody reads.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    0
}
