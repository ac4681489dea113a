//! `hoist rack`: what the rack is; start one here, or stop it.

use std::path::Path;

use clap::{Args, Subcommand};
use hoist_api::ErrorCode;
use hoist_api::client::{CallError, Client};
use hoist_api::endpoints::{RackGet, RackStop};
use hoist_api::types::{Empty, RackInfo, RackStopRequest};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::backup;
use crate::args::RackArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::output::{Cell, Table};
use crate::settings;
use crate::starter::{RackOptions, RunningRack};
use crate::wait;

#[derive(Debug, Args)]
pub(crate) struct Rack {
    #[command(subcommand)]
    command: Option<RackCommand>,
}

#[derive(Debug, Subcommand)]
enum RackCommand {
    /// Start a rack in the foreground; Ctrl-C stops it, and apps keep running
    Start(RackArgs),
    /// Stop the rack; apps keep running and serving
    Stop {
        /// Stop the processes of all apps and the router too; also when the rack is dead
        #[arg(long)]
        apps: bool,
    },
    /// Write the rack to one file: history, settings, what apps run, and the key behind a passphrase
    Backup(backup::Backup),
    /// Make the data directory of a rack from such a file; the directory must be empty
    Restore(backup::Restore),
}

impl Rack {
    /// Whether a rack, or what is left of one, is dealt with in this process.
    pub(crate) fn holds_rack(&self) -> bool {
        matches!(
            self.command,
            Some(RackCommand::Start(_) | RackCommand::Stop { apps: true })
        )
    }
}

pub(crate) async fn run(args: Rack, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => {
            let rack = context
                .client()?
                .call::<RackGet>(&Empty {}, &Empty {}, &Empty {})
                .await?;
            context.out.data(&rack, fields)
        }
        Some(RackCommand::Start(args)) => start(args, context).await,
        Some(RackCommand::Stop { apps }) => stop(apps, context).await,
        Some(RackCommand::Backup(args)) => backup::backup(args, context).await,
        Some(RackCommand::Restore(args)) => backup::restore(args, context).await,
    }
}

fn fields(rack: &RackInfo) -> Table {
    Table::fields([
        ("Name", Some(Cell::from(&rack.name))),
        ("Version", Some(Cell::from(&rack.version))),
        ("Engine", Some(Cell::from(&rack.engine))),
        ("Domain", Some(Cell::from(&rack.domain))),
        ("Api", Some(Cell::from(&rack.listen))),
        ("Router", Some(Cell::from(&rack.router))),
        ("Data", Some(Cell::from(&rack.data_dir))),
        ("Started", Some(rack.started.to_seconds_text().into())),
        ("Apps", Some(rack.apps.to_string().into())),
        ("Pid", Some(rack.pid.to_string().into())),
    ])
}

/// The flags with the data directory filled in.
pub(super) fn options(args: RackArgs, context: &Context<'_, '_>) -> Result<RackOptions, CliError> {
    Ok(RackOptions {
        data_dir: context.data_dir()?,
        listen: args.listen,
        router: args.router,
        engine: args.engine.as_str().to_owned(),
        domain: args.domain,
        name: args.name,
    })
}

async fn start(args: RackArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let options = options(args, context)?;
    let mut signals = Signals::new()?;
    let mut rack = context.starter()?.start(options.clone()).await?;
    tell(&options, rack.as_ref(), context)?;
    context.out.flush()?;
    context
        .out
        .note("Ctrl-C stops the rack; apps keep running until `hoist rack stop --apps`")?;
    tokio::select! {
        ended = rack.ended() => return Ok(ended?),
        () = signals.next() => {}
    }
    context.out.begin("Stopping rack")?;
    shut_down(rack, false, &mut signals).await?;
    context.out.done("OK")?;
    context.out.note("apps keep running; `hoist rack stop --apps` stops them, `hoist rack start` takes them back")
}

/// Where it listens and keeps its data.
fn tell(
    options: &RackOptions,
    rack: &dyn RunningRack,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let (listen, router) = (rack.listen().to_string(), rack.router().to_string());
    if context.out.json() {
        let data = json!({ "listen": listen, "router": router, "engine": options.engine, "data_dir": options.data_dir });
        return context.out.print_json(&data);
    }
    context.out.label(
        "Rack",
        &format!(
            "{} engine, Hoist {}",
            options.engine,
            env!("CARGO_PKG_VERSION")
        ),
    )?;
    context.out.label("Api", &format!("http://{listen}"))?;
    context.out.label("Router", &format!("http://{router}"))?;
    context
        .out
        .label("Data", &options.data_dir.display().to_string())
}

/// Stops a rack of this process; a second signal is the user's last word.
pub(super) async fn shut_down(
    rack: Box<dyn RunningRack>,
    apps: bool,
    signals: &mut Signals,
) -> Result<(), CliError> {
    tokio::select! {
        stopped = rack.shutdown(apps) => Ok(stopped?),
        () = signals.next() => Err(CliError::Interrupted { goes_on: None }),
    }
}

/// What asks a process in the foreground to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|source| CliError::io("wait for signals", source));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Completes at the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Completes at the next one that nobody else sees to.
    pub(super) async fn next_unless_held(&mut self, interrupts: &Interrupts) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => if !interrupts.held() { return },
                _ = self.terminate.recv() => return,
            }
        }
    }
}

async fn stop(apps: bool, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let client = match context.client() {
        Err(CliError::NoRack { .. }) if apps => return stop_apps(context).await,
        client => client?,
    };
    context.out.begin(if apps {
        "Stopping rack and apps"
    } else {
        "Stopping rack"
    })?;
    match client
        .call::<RackStop>(&Empty {}, &Empty {}, &RackStopRequest { apps })
        .await
    {
        Ok(rack) => gone(&client, rack.pid, context).await?,
        Err(error) if apps && !by_url(context) && is_another(&error) => {
            return stop_apps(context).await;
        }
        Err(error) => return Err(error.into()),
    }
    context.out.done("OK")?;
    if apps {
        Ok(())
    } else {
        context
            .out
            .note("apps keep running; `hoist rack stop --apps` stops them")
    }
}

/// Whether the rack of a data directory is dead: nobody answers where it listened, or somebody else does. Should it run
/// after all, then its lock says so.
pub(super) fn is_another(error: &CallError) -> bool {
    error
        .refusal()
        .is_none_or(|body| body.code == ErrorCode::Unauthenticated)
}

/// Whether the rack is one that `HOIST_URL` names: its data directory is unknown here.
pub(super) fn by_url(context: &Context<'_, '_>) -> bool {
    settings::by_url(&context.globals, context.environment)
}

/// Waits until the rack does not answer any more, and its process is gone when it runs on this machine.
async fn gone(client: &Client, pid: u32, context: &Context<'_, '_>) -> Result<(), CliError> {
    let process = format!("/proc/{pid}");
    let is_here = !by_url(context);
    wait::until("the rack to stop", async || {
        let runs = is_here && Path::new(&process).exists() && !is_zombie(&process);
        Ok((!runs && client.check().await.is_err()).then_some(()))
    })
    .await
}

/// Whether a process ended and only waits for its parent to notice.
fn is_zombie(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
    status
        .rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Stops what a dead rack left running.
async fn stop_apps(context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let data_dir = context.data_dir()?;
    let starter = context.starter()?;
    context.out.begin("No rack runs; stopping what it left")?;
    let stopped = starter.stop_apps(&data_dir).await?;
    let router = if stopped.router {
        " and the router"
    } else {
        ""
    };
    context
        .out
        .done(&format!("OK, {} processes{router}", stopped.processes))
}
