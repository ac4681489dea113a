//! `hoist releases`: list, show, promote, roll back.

use clap::{Args, Subcommand};
use hoist_api::Time;
use hoist_api::endpoints::{ReleaseGet, ReleaseList};
use hoist_api::types::{Empty, Release, ReleasePath, RevealQuery};

use super::promote::Promote;
use super::rollback::Rollback;
use super::{promote, rollback};
use crate::args::{AppArgs, PageArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, ago};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Releases {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    page: PageArgs,
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
        /// Do not show values of variables
        #[arg(long)]
        masked: bool,
    },
    /// Make a release live: the newest one, unless named
    Promote(Promote),
    /// Go back to a release: the last one that served before, unless named
    Rollback(Rollback),
}

pub(crate) async fn run(args: Releases, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => list(&args.app, args.page, context).await,
        Some(ReleasesCommand::Info {
            release,
            app,
            masked,
        }) => {
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
        (
            "Status",
            release.status.map(|status| Cell::word(status.as_str())),
        ),
        ("Build", text(&release.build)),
        ("Created", Some(release.created.to_seconds_text().into())),
        ("Description", Some(Cell::from(&release.description))),
        ("Parent", text(&release.parent)),
        ("Actor", Some(Cell::from(&release.actor))),
    ]);
    let label = std::iter::once("Env").chain(std::iter::repeat(""));
    let variables = release.env.iter().flatten().zip(label);
    table.extend(variables.map(|((key, value), label)| {
        vec![label.into(), super::env::assignment(key, value).into()]
    }));
    table
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
            manifest: None,
            includes: Vec::new(),
            passed_over: Vec::new(),
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
Status       active
Build        BABCDEFGHIJ
Created      2026-01-01T00:00:49Z
Description  env add:FOO
Actor        admin
Env          BAR=****
             FOO=bar
";
        assert_eq!(fields(&release).render(Some(20), false), expected);
    }
}
