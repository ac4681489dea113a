//! `hoist ps`: the processes of an app.

use hoist_api::Time;
use hoist_api::endpoints::ProcessList;
use hoist_api::types::{Empty, Process};

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, ago};

pub(crate) async fn run(args: AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args)?;
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
                process.name.as_str().into(),
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
        let expected = "\
ID            NAME    STATUS  RELEASE      CPU      MEM     STARTED     COMMAND
68831d3dce63  web     ready   RNJYVQUMKKU  3.29%    24.39%  5 days ago  sh -c bin/web
68831d3dce63  worker  ready   RNJYVQUMKKU  150.00%  24.39%              sh -c bin/web
";
        assert_eq!(
            table(&[process, starting], now).render(None, false),
            expected
        );
    }
}
