//! `hoist ps`: the processes of an app; `ps info` and `ps stop` for one of them.

use clap::{Args, Subcommand};
use hoist_api::Time;
use hoist_api::endpoints::{ProcessGet, ProcessList, ProcessStop};
use hoist_api::types::{AppPath, Empty, Process, ProcessPath};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, ago};
use crate::wait;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Ps {
    #[command(flatten)]
    app: AppArgs,
    #[command(subcommand)]
    command: Option<PsCommand>,
}

#[derive(Debug, Subcommand)]
enum PsCommand {
    /// Show a process
    Info(Named),
    /// Stop a process, drained; its service starts another in its place
    Stop(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The process's id, or as much of its beginning as names no other
    #[arg(value_name = "PID")]
    process: String,
    #[command(flatten)]
    app: AppArgs,
}

pub(crate) async fn run(args: Ps, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => list(&args.app, context).await,
        Some(PsCommand::Info(named)) => info(named, context).await,
        Some(PsCommand::Stop(named)) => stop(named, context).await,
    }
}

async fn info(named: Named, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = ProcessPath {
        app: context.app(&named.app)?,
        process: named.process,
    };
    let process = context
        .client()?
        .call::<ProcessGet>(&path, &Empty {}, &Empty {})
        .await?;
    context
        .out
        .data(&process, |process| fields(process, Time::now()))
}

async fn stop(named: Named, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = ProcessPath {
        app: context.app(&named.app)?,
        process: named.process,
    };
    let client = context.client()?;
    context.out.begin(&format!("Stopping {}", path.process))?;
    let stopped = client
        .call::<ProcessStop>(&path, &Empty {}, &Empty {})
        .await?;
    context.goes_on = Some(format!("it goes on: `hoist ps -a {}`", path.app));
    let app = AppPath {
        app: path.app.clone(),
    };
    let ended = wait::until("the process to stop", async || {
        let processes = client
            .call::<ProcessList>(&app, &Empty {}, &Empty {})
            .await?;
        let mut same = processes.items.into_iter();
        let found = same.find(|process| is_in_place_of(process, &stopped));
        Ok(match found {
            Some(process) if goes_on(&process) => None,
            found => Some(found),
        })
    })
    .await?;
    context.goes_on = None;
    let reason = ended.as_ref().and_then(|process| process.renewal.as_ref());
    let reason = reason.and_then(|renewal| renewal.reason.clone());
    context
        .out
        .done(if reason.is_none() { "OK" } else { "FAILED" })?;
    if context.out.json() {
        context.out.print_json(&ended)?;
    }
    let Some(reason) = reason else { return Ok(()) };
    let look = format!("`hoist logs -a {} -s {}`", path.app, stopped.name);
    context.out.error(&reason, Some(&look))?;
    Err(CliError::NotLive)
}

/// Whether a process runs where the stopped one did: in its slot, or it itself when it is a one-off.
fn is_in_place_of(process: &Process, stopped: &Process) -> bool {
    let of_service = |process: &Process| {
        let attempt = process.promotion.clone();
        (process.name.clone(), attempt, process.slot)
    };
    match stopped.one_off {
        true => process.id == stopped.id,
        false => !process.one_off && of_service(process) == of_service(stopped),
    }
}

/// A one-off is gone in the end; another process comes back.
fn goes_on(process: &Process) -> bool {
    let renewal = process.renewal.as_ref();
    process.one_off || renewal.is_some_and(|renewal| renewal.ended.is_none())
}

fn fields(process: &Process, now: Time) -> Table {
    let text = |text: &str| Some(Cell::from(text)).filter(|_| !text.is_empty());
    let exit = process.last_exit.as_ref();
    let exit = exit.map(|exit| format!("{}, {}", exit.text, ago(exit.at, now)));
    let ports: Vec<_> = process.ports.iter().map(u16::to_string).collect();
    let started = process.started.map(|started| ago(started, now));
    let name = match process.one_off {
        true => process.name.clone(),
        false => format!("{}.{}", process.name, process.slot),
    };
    Table::fields([
        ("Id", text(&process.id)),
        ("App", text(&process.app)),
        ("Name", text(&name)),
        ("Status", Some(Cell::word(process.status.as_str()))),
        ("Release", text(&process.release)),
        ("Command", text(&process.command)),
        ("Started", started.as_deref().and_then(text)),
        ("Restarts", text(&process.restarts.to_string())),
        ("Last exit", exit.as_deref().and_then(text)),
        ("CPU", text(&percent(process.cpu))),
        ("Memory", text(&percent(process.memory))),
        ("Ports", text(&ports.join(" "))),
        ("Host", text(&process.host)),
    ])
}

async fn list(app: &AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let mut processes = context
        .client()?
        .call::<ProcessList>(&path, &Empty {}, &Empty {})
        .await?;
    processes.items.sort_by(|one, other| {
        (&one.name, one.slot, &one.id).cmp(&(&other.name, other.slot, &other.id))
    });
    context
        .out
        .list(&processes, |processes| table(processes, Time::now()))
}

fn table(processes: &[Process], now: Time) -> Table {
    Table::list(
        [
            "ID", "NAME", "STATUS", "RELEASE", "CPU", "MEM", "STARTED", "COMMAND",
        ],
        processes.iter().map(|process| {
            [
                process.id.as_str().into(),
                name(process).into(),
                Cell::word(process.status.as_str()),
                process.release.as_str().into(),
                percent(process.cpu).into(),
                percent(process.memory).into(),
                process
                    .started
                    .map(|started| ago(started, now))
                    .unwrap_or_default()
                    .into(),
                process.command.as_str().into(),
            ]
        }),
    )
}

fn name(process: &Process) -> String {
    match process.one_off {
        true => format!("{} (one-off)", process.name),
        false => process.name.clone(),
    }
}

fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_process() {
        let text = r#"{
            "id": "68831d3dce63", "app": "hello", "name": "web", "slot": 1, "status": "ready",
            "release": "RNJYVQUMKKU", "cpu": 0.0329, "memory": 0.2439, "cpu_millicores": 33, "memory_bytes": 1,
            "started": "2026-01-01T00:00:00Z", "command": "sh -c bin/web", "restarts": 0, "last_exit": null, "host": "h"
        }"#;
        let process: Process = serde_json::from_str(text).expect("a process");
        let now = Time(process.started.expect("started").0 + 5 * 86_400_000);
        let starting = Process {
            started: None,
            name: "worker".to_owned(),
            cpu: 1.5,
            ..process.clone()
        };
        let one_off = Process {
            one_off: true,
            command: "rake".to_owned(),
            ..process.clone()
        };
        let expected = "\
ID            NAME           STATUS  RELEASE      CPU      MEM     STARTED     COMMAND
68831d3dce63  web            ready   RNJYVQUMKKU  3.29%    24.39%  5 days ago  sh -c bin/web
68831d3dce63  worker         ready   RNJYVQUMKKU  150.00%  24.39%              sh -c bin/web
68831d3dce63  web (one-off)  ready   RNJYVQUMKKU  3.29%    24.39%  5 days ago  rake
";
        assert_eq!(
            table(&[process, starting, one_off], now).render(None, false),
            expected
        );
    }
}
