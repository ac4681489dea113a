//! `hoist releases`: list, show, compare, promote, roll back.

use std::time::Duration;

use clap::{Args, Subcommand};
use hoist_api::Time;
use hoist_api::endpoints::{ReleaseDiffGet, ReleaseGet, ReleaseList};
use hoist_api::types::{
    Empty, Promotion, Release, ReleaseDiff, ReleaseDiffQuery, ReleasePath, RevealQuery,
};

use super::create_from::{self, CreateFrom};
use super::promote::Promote;
use super::prune::Prune;
use super::rollback::Rollback;
use super::{promote, prune, rollback};
use crate::args::{AppArgs, PageArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::lineage;
use crate::output::{Cell, Table, ago, short};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Releases {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    page: PageArgs,
    /// Show the list until interrupted: in place on a terminal, else again whenever it changes
    #[arg(long)]
    watch: bool,
    #[command(subcommand)]
    command: Option<ReleasesCommand>,
}

#[derive(Debug, Subcommand)]
enum ReleasesCommand {
    /// Show a release with its variables
    Info {
        /// The release, R…
        release: String,
        #[command(flatten)]
        app: AppArgs,
        /// Show values of variables on a terminal as well
        #[arg(long)]
        reveal: bool,
        /// Do not show values of variables
        #[arg(long, conflicts_with = "reveal")]
        masked: bool,
    },
    /// Print the manifest of a release
    Manifest {
        /// The release, R…
        release: String,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Show how a release differs from the active one, or from another
    Diff {
        /// The release, R…
        release: String,
        /// With what it is compared: active, newest, or R… [default: active]
        against: Option<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Make a release of one's build and another's environment
    CreateFrom(CreateFrom),
    /// Make a release live: the active one with what is staged on it, unless named
    Promote(Promote),
    /// Go back to a release: the last one that served before, unless named
    Rollback(Rollback),
    /// Remove releases and builds that nobody needs, as the rack does once an hour
    Prune(Prune),
}

pub(crate) async fn run(args: Releases, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None if args.watch => watch(&args.app, args.page, context).await,
        None => list(&args.app, args.page, context).await,
        Some(ReleasesCommand::Manifest { release, app }) => manifest(release, &app, context).await,
        Some(ReleasesCommand::Diff {
            release,
            against,
            app,
        }) => diff(release, against, &app, context).await,
        Some(ReleasesCommand::CreateFrom(args)) => create_from::run(args, context).await,
        Some(ReleasesCommand::Info {
            release,
            app,
            reveal,
            masked,
        }) => {
            let masked = masked || context.environment.stdout_terminal && !reveal;
            let path = ReleasePath {
                app: context.app(&app)?,
                release,
            };
            let query = RevealQuery { reveal: !masked };
            let release = context
                .client()?
                .call::<ReleaseGet>(&path, &query, &Empty {})
                .await?;
            context.out.data(&release, fields)
        }
        Some(ReleasesCommand::Promote(args)) => promote::run(args, context).await,
        Some(ReleasesCommand::Rollback(args)) => rollback::run(args, context).await,
        Some(ReleasesCommand::Prune(args)) => prune::run(args, context).await,
    }
}

async fn list(
    app: &AppArgs,
    page: PageArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let query = page.query();
    let releases = context
        .client()?
        .call::<ReleaseList>(&path, &query, &Empty {})
        .await?;
    context
        .out
        .list(&releases, |releases| table(releases, Time::now()))
}

/// The pause between looks at a list that is watched.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

async fn watch(
    app: &AppArgs,
    page: PageArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let (query, client) = (page.query(), context.client()?);
    let (mut seen, mut above) = (None, 0);
    loop {
        let releases = client.call::<ReleaseList>(&path, &query, &Empty {}).await?;
        // In place also what is relative grows.
        if context.out.redraws() || seen.as_ref() != Some(&releases) {
            if context.out.json() {
                context.out.print_json_line(&releases)?;
            } else {
                let table = table(&releases.items, Time::now());
                above = context.out.table_again(&table, above)?;
            }
            context.out.flush()?;
            seen = Some(releases);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn manifest(
    release: String,
    app: &AppArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = ReleasePath {
        app: context.app(app)?,
        release,
    };
    let query = RevealQuery { reveal: false };
    let found = context
        .client()?
        .call::<ReleaseGet>(&path, &query, &Empty {})
        .await?;
    let Some(text) = found.manifest else {
        return Err(CliError::refused(
            format!(
                "release {} has no manifest: only variables were set so far",
                found.id
            ),
            format!(
                "`hoist deploy -a {}` makes a release that has one",
                path.app
            ),
        ));
    };
    match context.out.json() {
        true => context.out.print_json(&text),
        false => context.out.line(text.trim_end_matches('\n')),
    }
}

async fn diff(
    release: String,
    against: Option<String>,
    app: &AppArgs,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = ReleasePath {
        app: context.app(app)?,
        release,
    };
    let query = ReleaseDiffQuery { against };
    let diff = context
        .client()?
        .call::<ReleaseDiffGet>(&path, &query, &Empty {})
        .await?;
    context.out.data(&diff, differences)?;
    match lineage::changes(&diff) {
        None if !context.out.json() => context.out.note("nothing differs"),
        _ => Ok(()),
    }
}

fn differences(diff: &ReleaseDiff) -> Table {
    let build = diff.build.as_ref().map(|_| lineage::build_words(diff));
    let build = build.map(|words| words.trim_start_matches("build ").into());
    let mut table = Table::fields([
        ("Release", Some(Cell::from(&diff.release))),
        ("Against", Some(Cell::from(&diff.against))),
        ("Build", build),
    ]);
    let label = std::iter::once("Manifest").chain(std::iter::repeat(""));
    let lines = diff.manifest.iter().zip(label);
    table.extend(lines.map(|(line, label)| vec![label.into(), line.as_str().into()]));
    let env = lineage::env_words(&diff.env);
    if !env.is_empty() {
        table.extend([vec!["Env".into(), env.into()]]);
    }
    table
}

fn table(releases: &[Release], now: Time) -> Table {
    let row = |release: &Release| {
        [
            release.id.as_str().into(),
            Cell::word(
                release
                    .status
                    .map(|status| status.as_str())
                    .unwrap_or_default(),
            ),
            release.build.as_deref().unwrap_or_default().into(),
            ago(release.created, now).into(),
            release.description.as_str().into(),
        ]
    };
    Table::list(
        ["ID", "STATUS", "BUILD", "CREATED", "DESCRIPTION"],
        releases.iter().map(row),
    )
}

fn fields(release: &Release) -> Table {
    let text = |text: &Option<String>| text.as_ref().map(Cell::from);
    let mut table = Table::fields([
        ("Id", Some(Cell::from(&release.id))),
        ("Build", text(&release.build)),
        ("Created", Some(release.created.to_seconds_text().into())),
        ("Description", Some(Cell::from(&release.description))),
    ]);
    let mut add = |label: &'static str, lines: Vec<String>| {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        let rows = lines.into_iter().zip(labels);
        table.extend(rows.map(|(line, label)| vec![label.into(), line.into()]));
    };
    let variables = release.env.iter().flatten();
    let variables = variables.flat_map(|(key, value)| {
        let text = super::env::assignment(key, value.as_deref());
        // A value of several lines goes on below.
        text.split('\n').map(str::to_owned).collect::<Vec<_>>()
    });
    add("Env", variables.collect());
    let includes = release.includes.iter();
    let includes =
        includes.map(|included| format!("{} {}", included.release, included.description));
    add("Includes", includes.collect());
    let over = release.passed_over.iter();
    let over = over.map(|over| format!("{}: {}", over.release, over.reason));
    add("Passed over", over.collect());
    add(
        "Promotions",
        release.promotions.iter().map(promotion).collect(),
    );
    let more = [
        (
            "Status",
            release.status.map(|status| Cell::word(status.as_str())),
        ),
        ("Parent", text(&release.parent)),
        ("Actor", Some(Cell::from(&release.actor))),
    ];
    let more = more.into_iter();
    table.extend(more.filter_map(|(label, cell)| Some(vec![label.into(), cell?])));
    table
}

/// One attempt to make a release live, on a line.
fn promotion(promotion: &Promotion) -> String {
    let phase = promotion.phase.map(|phase| phase.as_str());
    let outcome = promotion.outcome.map(|outcome| outcome.as_str());
    let took = promotion.ended.map(|ended| promotion.began.until(ended));
    let took = took.map(|took| format!(" after {}", short(took)));
    let reason = promotion.reason.as_ref();
    format!(
        "{} {} {}: {}{}{}",
        promotion.number,
        promotion.began.to_seconds_text(),
        promotion.kind.as_str(),
        outcome.or(phase).unwrap_or_default(),
        took.unwrap_or_default(),
        reason
            .map(|reason| format!(", {reason}"))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use hoist_api::types::ReleaseStatus;

    use super::*;

    fn release(
        id: &str,
        status: Option<ReleaseStatus>,
        created: u64,
        description: &str,
    ) -> Release {
        Release {
            id: id.to_owned(),
            app: "myapp".to_owned(),
            status,
            build: Some("BABCDEFGHIJ".to_owned()),
            created: Time(created),
            description: description.to_owned(),
            parent: None,
            actor: "admin".to_owned(),
            env: None,
            masked: Vec::new(),
            manifest: None,
            includes: Vec::new(),
            passed_over: Vec::new(),
            promotions: Vec::new(),
        }
    }

    #[test]
    fn the_list() {
        let now = Time(1_767_225_649_000);
        let releases = [
            release("RCDEFGHIJKL", None, now.0 - 60_000, "env add:FOO"),
            release(
                "RBCDEFGHIJK",
                Some(ReleaseStatus::Active),
                now.0 - 300_000,
                "build 0a1b2c3d4e my commit",
            ),
            release(
                "RABCDEFGHIJ",
                Some(ReleaseStatus::RolledBack),
                now.0 - 3_600_000,
                "build",
            ),
        ];
        let expected = "\
ID           STATUS       BUILD        CREATED        DESCRIPTION
RCDEFGHIJKL               BABCDEFGHIJ  1 minute ago   env add:FOO
RBCDEFGHIJK  active       BABCDEFGHIJ  5 minutes ago  build 0a1b2c3d4e my commit
RABCDEFGHIJ  rolled-back  BABCDEFGHIJ  1 hour ago     build
";
        assert_eq!(table(&releases, now).render(None, false), expected);
    }

    #[test]
    fn one_release() {
        let mut release = release(
            "RCDEFGHIJKL",
            Some(ReleaseStatus::Active),
            1_767_225_649_000,
            "env add:FOO",
        );
        let variables = [("BAR", None), ("FOO", Some("bar"))];
        release.env = Some(
            variables
                .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
                .into(),
        );
        let expected = "\
Id           RCDEFGHIJKL
Build        BABCDEFGHIJ
Created      2026-01-01T00:00:49Z
Description  env add:FOO
Env          BAR=****
             FOO=bar
Status       active
Actor        admin
";
        assert_eq!(fields(&release).render(Some(20), false), expected);
    }
}
