//! `hoist restart`, `hoist stop`, `hoist start`.

use clap::Args;
use hoist_api::client::Client;
use hoist_api::endpoints::{AppGet, AppRestart, AppStart, AppStop};
use hoist_api::types::{AppStatus, Empty, Promotion, RestartRequest};

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
    let mut flow = flow(app, &client, context);
    flow.tell_what_is_waited_for(&args.promote).await?;
    let what = args
        .service
        .as_ref()
        .map(|service| format!("{service} of "))
        .unwrap_or_default();
    let text = format!("Restarting {what}{}", flow.app);
    flow.context.out.begin(&text)?;
    let body = RestartRequest {
        service: args.service,
        if_busy: args.promote.if_busy.into(),
        timeout_seconds: args.promote.timeout,
    };
    flow.not_known_to_have_begun();
    let promotion = client
        .call::<AppRestart>(&flow.path(), &Empty {}, &body)
        .await?;
    see_through(promotion, &mut flow).await
}

pub(crate) async fn start(args: AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&args)?;
    let client = context.client()?;
    let mut flow = flow(app, &client, context);
    let text = format!("Starting {}", flow.app);
    flow.context.out.begin(&text)?;
    flow.not_known_to_have_begun();
    let promotion = client
        .call::<AppStart>(&flow.path(), &Empty {}, &Empty {})
        .await?;
    see_through(promotion, &mut flow).await
}

fn flow<'f, 'a, 'o>(
    app: String,
    client: &'f Client,
    context: &'f mut Context<'a, 'o>,
) -> Flow<'f, 'a, 'o> {
    Flow {
        context,
        client,
        app,
        timed: false,
    }
}

async fn see_through(promotion: Promotion, flow: &mut Flow<'_, '_, '_>) -> Result<(), CliError> {
    let ended = flow.see_through(promotion, &Subject::Release).await?;
    if flow.context.out.json() {
        flow.context.out.print_json(&ended)?;
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
