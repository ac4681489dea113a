//! `hoist up`: from a directory to a served app in one command.

use std::path::Path;

use clap::Args;
use hoist_api::client::{Client, Target};
use hoist_api::endpoints::{AppGet, RackGet};
use hoist_api::types::{AppPath, Empty, RackInfo};
use hoist_core::id::ServiceName;
use hoist_core::manifest::{self, Check, Dialect, Service};

use super::deploy::Deployed;
use super::rack::{Signals, by_url, is_another, options, shut_down};
use crate::args::{PromoteArgs, RackArgs, SourceArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::Flow;
use crate::package::Source;
use crate::settings;
use crate::starter::RunningRack;

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    promote: PromoteArgs,
    #[command(flatten)]
    rack: RackArgs,
}

pub(crate) async fn run(args: Up, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    // Wrong usage shows before anything is started.
    let directory = context.environment.directory.join(&args.source.dir);
    let app = context.app_of(&args.source.app, &directory)?;
    let mut signals = Signals::new()?;
    if let Some((client, rack)) = running(context).await? {
        context.out.note(&format!(
            "a rack runs already: deploying to {} at {}",
            rack.name,
            client.url()
        ))?;
        let interrupts = context.interrupts.clone();
        return tokio::select! {
            deployed = deploy(&args, app, &client, context) => deployed?.live(),
            () = signals.next_unless_held(&interrupts) => Err(CliError::Interrupted { goes_on: context.goes_on.take() }),
        };
    }
    let options = options(args.rack.clone(), context)?;
    let data_dir = options.data_dir.clone();
    context.out.begin("Starting rack")?;
    let rack = tokio::select! {
        rack = context.starter()?.start(options) => rack?,
        () = signals.next() => return Err(CliError::Interrupted { goes_on: None }),
    };
    context.out.done("OK")?;
    let client = Client::new(target_in(&data_dir, rack.as_ref())?);
    // With this rack everything of it ends: there is nothing to leave running.
    context.asks = false;
    let deployed = tokio::select! {
        deployed = deploy(&args, app.clone(), &client, context) => deployed,
        () = signals.next() => Err(CliError::Interrupted { goes_on: None }),
    };
    stay(deployed, app, &client, rack, &mut signals, context).await
}

/// The rack of this process, with the token that it wrote.
fn target_in(data_dir: &Path, rack: &dyn RunningRack) -> Result<Target, CliError> {
    let written = settings::target_of(data_dir)?;
    let listen = settings::reachable(&rack.listen().to_string());
    let target =
        Target::parse(&format!("http://{listen}")).map_err(|error| CliError::Call(error.into()))?;
    Ok(target.with_token(written.token().unwrap_or_default()))
}

/// The rack that runs already: the one that `HOIST_URL` names, else of the data directory.
async fn running(context: &Context<'_, '_>) -> Result<Option<(Client, RackInfo)>, CliError> {
    let client = match context.client() {
        Err(CliError::NoRack { .. }) => return Ok(None),
        client => client?,
    };
    match client
        .call::<RackGet>(&Empty {}, &Empty {}, &Empty {})
        .await
    {
        Ok(rack) => Ok(Some((client, rack))),
        // Somebody else may listen where a rack died: starting this one says so, if it matters.
        Err(error) if !by_url(context) && is_another(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn deploy(
    args: &Up,
    app: String,
    client: &Client,
    context: &mut Context<'_, '_>,
) -> Result<Deployed, CliError> {
    let rack = client
        .call::<RackGet>(&Empty {}, &Empty {}, &Empty {})
        .await?;
    let mut flow = Flow {
        context,
        client,
        app,
        timed: true,
    };
    let source = flow.package(&args.source)?;
    let plan = plan(&source, args.source.manifest.as_deref(), &flow.app, &rack);
    for (label, value) in plan {
        flow.context
            .out
            .chatter(&format!("{:<10} {value}", format!("{label}:")))?;
    }
    flow.ensure_app(args.source.no_create).await?;
    let deployed = Deployed::of(&mut flow, source, &args.source, &args.promote).await?;
    tell(&deployed, client, context).await?;
    Ok(deployed)
}

/// What is going to happen, before it does.
fn plan(
    source: &Source,
    manifest: Option<&str>,
    app: &str,
    rack: &RackInfo,
) -> Vec<(&'static str, String)> {
    let manifest = manifest.or(source.manifest());
    let services = manifest.and_then(|name| {
        let text = std::fs::read_to_string(source.root().join(name)).ok()?;
        // What is wrong with it is the rack's to say: it reads it again.
        let (manifest, _) = manifest::read(Dialect::of_file(name), name, &text).ok()?;
        Some(
            manifest
                .services
                .iter()
                .map(service)
                .collect::<Vec<_>>()
                .join(", "),
        )
    });
    vec![
        ("Directory", source.root().display().to_string()),
        ("App", app.to_owned()),
        ("Engine", rack.engine.clone()),
        ("Manifest", manifest.unwrap_or("none").to_owned()),
        (
            "Services",
            services.unwrap_or_else(|| "not known yet".to_owned()),
        ),
    ]
}

/// A service in the plan: `web 1 (health: GET /up)`.
fn service((name, service): &(ServiceName, Service)) -> String {
    let gate = match &service.health.check {
        Check::Path(path) => format!("health: GET {path}"),
        Check::Command(command) => format!("health: {command}"),
        Check::Unset if service.port.is_some() => "health: GET /".to_owned(),
        Check::Disabled if service.port.is_some() => "health: its port accepts".to_owned(),
        Check::Unset | Check::Disabled => "no port".to_owned(),
    };
    format!("{name} {} ({gate})", service.count)
}

/// Where it is served, and what to try next.
async fn tell(
    deployed: &Deployed,
    client: &Client,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    if context.out.json() {
        return context.out.print_json(deployed);
    }
    if deployed.live().is_err() {
        return Ok(());
    }
    let path = AppPath {
        app: deployed.app.clone(),
    };
    let app = client.call::<AppGet>(&path, &Empty {}, &Empty {}).await?;
    if let Some(url) = &app.url {
        context.out.label("Url", url)?;
    }
    context.out.flush()?;
    // As it was called: `cargo run` calls a program that is on nobody's path.
    let (program, app) = (context.environment.program(), &deployed.app);
    context.out.chatter(&format!(
        "Try: {program} ps -a {app}\n     {program} logs -a {app}"
    ))
}

/// Keeps the rack in the foreground while something serves. Then stops it and what it ran.
async fn stay(
    deployed: Result<Deployed, CliError>,
    app: String,
    client: &Client,
    mut rack: Box<dyn RunningRack>,
    signals: &mut Signals,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let came_to = match deployed {
        Ok(deployed) => deployed.live(),
        Err(error @ (CliError::Interrupted { .. } | CliError::Output(_))) => Err(error),
        Err(error) => {
            error.print(context.out)?;
            Err(CliError::Said {
                exit_code: error.exit_code(),
            })
        }
    };
    let path = AppPath { app };
    let found = client.call::<AppGet>(&path, &Empty {}, &Empty {}).await;
    let serves = found.is_ok_and(|app| app.release.is_some());
    let interrupted = matches!(
        came_to,
        Err(CliError::Interrupted { .. } | CliError::Output(_))
    );
    if serves && !interrupted {
        context.out.note("Ctrl-C stops the rack and its apps")?;
        tokio::select! {
            ended = rack.ended() => {
                ended?;
                return came_to;
            }
            () = signals.next() => {}
        }
    }
    context.out.begin("Stopping rack and apps")?;
    shut_down(rack, true, signals).await?;
    context.out.done("OK")?;
    came_to
}
