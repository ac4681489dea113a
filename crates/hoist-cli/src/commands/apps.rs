//! `hoist apps`: list, create, show, delete; export and import are in `moving`.

use clap::{Args, Subcommand};
use hoist_api::ErrorCode;
use hoist_api::endpoints::{AppCreate, AppDelete, AppGet, AppList};
use hoist_api::types::{App, AppCreateRequest, DeleteQuery, Empty};

use super::{moving, promotions};
use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::flow::is;
use crate::output::{Cell, Table};
use crate::wait;

#[derive(Debug, Args)]
pub(crate) struct Apps {
    #[command(subcommand)]
    command: Option<AppsCommand>,
}

#[derive(Debug, Subcommand)]
enum AppsCommand {
    /// Create an app
    Create {
        /// a-z, 0-9, `.` and `-`, at most 63 characters
        name: String,
    },
    /// Show an app
    Info {
        /// The app [default: the directory's name]
        #[arg(value_name = "APP", conflicts_with = "app")]
        name: Option<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// End the promotion in flight and go back, as `hoist cancel`
    Cancel {
        /// The app [default: the directory's name]
        #[arg(value_name = "APP", conflicts_with = "app")]
        name: Option<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Write an app to a file, to import it on another rack
    Export(moving::ExportApp),
    /// Make an app of a file that `apps export` wrote; nothing of it runs yet
    Import(moving::ImportApp),
    /// Delete an app: its processes, releases and logs; volumes stay
    Delete {
        /// The app
        name: String,
        /// The app's name again
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        /// Delete its volumes as well
        #[arg(long)]
        volumes: bool,
    },
    /// Show what is set for an app as a whole, or set it
    Params(super::params::Params),
}

pub(crate) async fn run(args: Apps, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => list(context).await,
        Some(AppsCommand::Create { name }) => create(name, context).await,
        Some(AppsCommand::Info { name, app }) => {
            let path = context.app_path(&AppArgs {
                app: name.or(app.app),
            })?;
            let app = context
                .client()?
                .call::<AppGet>(&path, &Empty {}, &Empty {})
                .await?;
            context.out.data(&app, fields)
        }
        Some(AppsCommand::Cancel { name, app }) => {
            let app = name.or(app.app);
            promotions::cancel(AppArgs { app }, context).await
        }
        Some(AppsCommand::Export(args)) => moving::export_app(args, context).await,
        Some(AppsCommand::Import(args)) => moving::import_app(args, context).await,
        Some(AppsCommand::Delete {
            name,
            confirm,
            volumes,
        }) => delete(name, confirm, volumes, context).await,
        Some(AppsCommand::Params(args)) => super::params::run(args, context).await,
    }
}

async fn list(context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let apps = context
        .client()?
        .call::<AppList>(&Empty {}, &Empty {}, &Empty {})
        .await?;
    context.out.list(&apps, |apps| {
        let row = |app: &App| {
            [
                app.name.as_str().into(),
                Cell::word(app.status.as_str()),
                app.release.as_deref().unwrap_or_default().into(),
                app.url.as_deref().unwrap_or_default().into(),
            ]
        };
        Table::list(["APP", "STATUS", "RELEASE", "URL"], apps.iter().map(row))
    })
}

async fn create(name: String, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let client = context.client()?;
    context.out.begin(&format!("Creating app {name}"))?;
    let app = client
        .call::<AppCreate>(&Empty {}, &Empty {}, &AppCreateRequest { name })
        .await?;
    context.out.done("OK")?;
    if context.out.json() {
        context.out.print_json(&app)
    } else {
        Ok(())
    }
}

fn fields(app: &App) -> Table {
    let text = |text: &Option<String>| text.as_ref().map(Cell::from);
    let mut table = Table::fields([
        ("Name", Some(Cell::from(&app.name))),
        ("Status", Some(Cell::word(app.status.as_str()))),
        ("Release", text(&app.release)),
        ("Promotion", text(&app.promotion)),
        ("Url", text(&app.url)),
        ("Created", Some(app.created.to_seconds_text().into())),
        ("Locked", app.locked.then(|| "yes".into())),
    ]);
    let others = app
        .urls
        .iter()
        .filter(|(_, url)| Some(*url) != app.url.as_ref());
    table.extend(others.map(|(service, url)| vec![format!("Url of {service}").into(), url.into()]));
    table
}

async fn delete(
    name: String,
    confirm: Option<String>,
    volumes: bool,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = context.app_path(&AppArgs {
        app: Some(name.clone()),
    })?;
    if confirm.as_ref() != Some(&name) {
        let also = if volumes {
            " and volumes"
        } else {
            "; its volumes stay"
        };
        let flag = if volumes { " --volumes" } else { "" };
        return Err(CliError::usage(
            format!("deleting {name} destroys its processes, releases, builds and logs{also}"),
            format!("confirm with its name: `hoist apps delete {name}{flag} --confirm {name}`"),
        ));
    }
    let client = context.client()?;
    context.out.begin(&format!("Deleting {name}"))?;
    let query = DeleteQuery {
        confirm: name.clone(),
        volumes,
    };
    let deleted = client.call::<AppDelete>(&path, &query, &Empty {}).await?;
    context.goes_on = Some(format!("{name} goes on being deleted"));
    wait::until("the app to be gone", async || {
        match client.call::<AppGet>(&path, &Empty {}, &Empty {}).await {
            Ok(_) => Ok(None),
            Err(error) if is(&error, ErrorCode::AppNotFound) => Ok(Some(())),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    context.out.done("OK")?;
    if context.out.json() {
        return context.out.print_json(&deleted);
    }
    for volume in &deleted.volumes_kept {
        context.out.chatter(&format!("kept: {volume}"))?;
    }
    Ok(())
}
