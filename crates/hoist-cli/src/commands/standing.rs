//! `hoist restart`, `hoist stop`, `hoist start`.

use clap::Args;
use hoist_api::client::Client;
use hoist_api::endpoints::{AppGet, AppRestart, AppStart, AppStop};
use hoist_api::types::{AppPath, AppStatus, Empty, Promotion, RestartRequest};

use crate::args::{AppArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::Subject;
use crate::wait;

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Only this service
    service: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    promote: PromoteArgs,
}

pub(crate) async fn restart(args: Restart, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&args.app)?;
    let client = context.client()?;
    let what = args
        .service
        .as_ref()
        .map(|service| format!("{service} of "))
        .unwrap_or_default();
    context.out.begin(&format!("Restarting {what}{app}"))?;
    let body = RestartRequest {
        service: args.service,
        if_busy: args.promote.if_busy.into(),
    };
    let promotion = client
        .call::<AppRestart>(&AppPath { app: app.clone() }, &Empty {}, &body)
        .await?;
    see_through(promotion, app, &client, context).await
}

pub(crate) async fn start(args: AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&args)?;
    let client = context.client()?;
    context.out.begin(&format!("Starting {app}"))?;
    let promotion = client
        .call::<AppStart>(&AppPath { app: app.clone() }, &Empty {}, &Empty {})
        .await?;
    see_through(promotion, app, &client, context).await
}

async fn see_through(
    promotion: Promotion,
    app: String,
    client: &Client,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let mut flow = Flow {
        context,
        client,
        app,
        timed: false,
    };
    let ended = flow.see_through(promotion, &Subject::Release).await?;
    if context.out.json() {
        context.out.print_json(&ended)?;
    }
    live(&ended)
}

pub(crate) async fn stop(args: AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args)?;
    let client = context.client()?;
    context.out.begin(&format!("Stopping {}", path.app))?;
    client.call::<AppStop>(&path, &Empty {}, &Empty {}).await?;
    context.goes_on = Some(format!("{} goes on stopping", path.app));
    let app = wait::until("the processes to stop", async || {
        let app = client.call::<AppGet>(&path, &Empty {}, &Empty {}).await?;
        Ok((app.status != AppStatus::Stopping).then_some(app))
    })
    .await?;
    context.goes_on = None;
    if app.status != AppStatus::Stopped {
        let message = format!("{} is {}: somebody was faster", app.name, app.status);
        return Err(CliError::refused(
            message,
            format!("hoist events -a {}", app.name),
        ));
    }
    context.out.done("OK")?;
    match context.out.json() {
        true => context.out.print_json(&app),
        false => Ok(()),
    }
}
