//! `hoist builds`: list, show, log, cancel; export and import are in `moving`.

use clap::{Args, Subcommand};
use hoist_api::Time;
use hoist_api::client::Next;
use hoist_api::endpoints::{BuildCancel, BuildGet, BuildList, BuildLogs};
use hoist_api::types::{Build, BuildPath, BuildStatus, Empty, List};

use super::moving;
use crate::args::{AppArgs, PageArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::nearest;
use crate::output::{Cell, Table, ago, short};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Builds {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(subcommand)]
    command: Option<BuildsCommand>,
}

#[derive(Debug, Subcommand)]
enum BuildsCommand {
    /// Show a build
    Info(OneBuild),
    /// Show the output of a build, as it comes while it runs
    Logs(OneBuild),
    /// Write a build to a file, to import it to another app or rack
    Export(moving::ExportBuild),
    /// Make a build, and a release of it, of a file that `builds export` wrote
    Import(moving::ImportBuild),
    /// End builds that run; they make no release
    Cancel {
        /// The builds, B… [default: those of the app that run]
        #[arg(value_name = "BUILD")]
        builds: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
    },
}

#[derive(Debug, Args)]
struct OneBuild {
    /// The build, B…
    build: String,
    #[command(flatten)]
    app: AppArgs,
}

pub(crate) async fn run(args: Builds, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => list(&args.app, args.page, context).await,
        Some(BuildsCommand::Info(one)) => {
            let path = BuildPath {
                app: context.app(&one.app)?,
                build: one.build,
            };
            let build = context
                .client()?
                .call::<BuildGet>(&path, &Empty {}, &Empty {})
                .await?;
            context.out.data(&build, fields)
        }
        Some(BuildsCommand::Logs(one)) => logs(one, context).await,
        Some(BuildsCommand::Export(args)) => moving::export_build(args, context).await,
        Some(BuildsCommand::Import(args)) => moving::import_build(args, context).await,
        Some(BuildsCommand::Cancel { builds, app }) => cancel(builds, &app, context).await,
    }
}

async fn list(
    app: &AppArgs,
    page: PageArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let query = page.query();
    let builds = context
        .client()?
        .call::<BuildList>(&path, &query, &Empty {})
        .await?;
    let now = Time::now();
    context.out.list(&builds, |builds| {
        let row = |build: &Build| {
            [
                build.id.as_str().into(),
                Cell::word(build.status.as_str()),
                build.release.as_deref().unwrap_or_default().into(),
                ago(build.created, now).into(),
                took(build).unwrap_or_default().into(),
                build.description.as_str().into(),
            ]
        };
        Table::list(
            [
                "ID",
                "STATUS",
                "RELEASE",
                "STARTED",
                "ELAPSED",
                "DESCRIPTION",
            ],
            builds.iter().map(row),
        )
    })
}

fn took(build: &Build) -> Option<String> {
    build.ended.map(|ended| short(build.created.until(ended)))
}

fn fields(build: &Build) -> Table {
    let text = |text: &Option<String>| text.as_ref().map(Cell::from);
    let mut table = Table::fields([
        ("Id", Some(Cell::from(&build.id))),
        ("Status", Some(Cell::word(build.status.as_str()))),
        ("Release", text(&build.release)),
        ("Started", Some(build.created.to_seconds_text().into())),
        ("Elapsed", took(build).map(Cell::from)),
        ("Description", Some(Cell::from(&build.description))),
        ("Commit", text(&build.git_sha)),
        ("Reason", text(&build.reason)),
    ]);
    table.extend(
        build
            .warnings
            .iter()
            .map(|warning| vec!["Warning".into(), warning.into()]),
    );
    table
}

async fn logs(one: OneBuild, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = BuildPath {
        app: context.app(&one.app)?,
        build: one.build,
    };
    let mut lines = context
        .client()?
        .stream::<BuildLogs, _, _>(&path, &Empty {})
        .await?;
    loop {
        match lines.next().await? {
            Next::Line(line) if context.out.json() => context.out.print_json_line(&line)?,
            Next::Line(line) => context.out.line(&line.text)?,
            Next::End(build) => {
                let reason = build
                    .reason
                    .map(|reason| format!(": {reason}"))
                    .unwrap_or_default();
                return context
                    .out
                    .note(&format!("{} {}{reason}", build.id, build.status));
            }
        }
    }
}

async fn cancel(
    builds: Vec<String>,
    app: &AppArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let client = context.client()?;
    let builds = if builds.is_empty() {
        let listed = client
            .call::<BuildList>(&path, &nearest::page(), &Empty {})
            .await?;
        let running = listed.items.into_iter();
        let running = running.filter(|build| build.status == BuildStatus::Running);
        running.map(|build| build.id).collect()
    } else {
        builds
    };
    if builds.is_empty() {
        return Err(CliError::refused(
            format!("no build of {} runs", path.app),
            format!("`hoist cancel -a {}` ends a promotion", path.app),
        ));
    }
    let mut ended = Vec::new();
    for build in builds {
        context.out.begin(&format!("Cancelling {build}"))?;
        let one = BuildPath {
            app: path.app.clone(),
            build,
        };
        let build = client
            .call::<BuildCancel>(&one, &Empty {}, &Empty {})
            .await?;
        match build.status {
            BuildStatus::Running => context.out.done("it is still ending")?,
            _ => context.out.done("OK")?,
        }
        ended.push(build);
    }
    if context.out.json() {
        context.out.print_json(&List::whole(ended))?;
    }
    Ok(())
}
