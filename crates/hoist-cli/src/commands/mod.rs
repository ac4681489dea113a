//! One file per command.

pub(crate) mod apps;
pub(crate) mod backup;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod completions;
pub(crate) mod create_from;
pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod exec;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod manifest;
pub(crate) mod moving;
pub(crate) mod open;
pub(crate) mod params;
pub(crate) mod promote;
pub(crate) mod promotions;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod rack;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod standing;
pub(crate) mod up;
pub(crate) mod version;

use crate::args::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::nearest;

/// Runs a command until it ended or the user interrupts. What holds a rack or a session sees to interrupts itself, and what
/// follows a promotion asks.
pub(crate) async fn run(command: Command, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    if command.holds_rack() || command.holds_session() {
        return dispatch(command, context).await;
    }
    let interrupts = context.interrupts.clone();
    tokio::select! {
        ended = dispatch(command, context) => match ended {
            Err(error) => return Err(nearest::suggest(error, context).await),
            done => return done,
        },
        interrupted = interrupts.next() => interrupted?,
    }
    Err(CliError::Interrupted {
        goes_on: context.goes_on.take(),
    })
}

async fn dispatch(command: Command, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match command {
        Command::Up(args) => up::run(args, context).await,
        Command::Deploy(args) => deploy::run(args, context).await,
        Command::Build(args) => build::run(args, context).await,
        Command::Ps(args) => ps::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Apps(args) => apps::run(args, context).await,
        Command::Builds(args) => builds::run(args, context).await,
        Command::Releases(args) => releases::run(args, context).await,
        Command::Promote(args) => promote::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Promotions(args) => promotions::run(args, context).await,
        Command::Cancel(args) => promotions::cancel(args, context).await,
        Command::Env(args) => env::run(args, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Exec(args) => exec::run(args, context).await,
        Command::Scale(args) => scale::run(args, context).await,
        Command::Restart(args) => standing::restart(args, context).await,
        Command::Stop(args) => standing::stop(args, context).await,
        Command::Start(args) => standing::start(args, context).await,
        Command::Events(args) => promotions::events(args, context).await,
        Command::Rack(args) => rack::run(args, context).await,
        Command::Doctor => doctor::run(context).await,
        Command::Version => version::run(context).await,
        Command::Open(args) => open::run(args, context).await,
        Command::Manifest(args) => manifest::run(args, context).await,
        Command::Completions(args) => completions::run(&args, context),
        Command::Complete(args) => completions::complete(args, context).await,
        Command::Man(args) => man::run(args, context),
        // Answered before a command runs.
        Command::Help { .. } => Ok(()),
    }
}
