//! `hoist rollback` and `hoist releases rollback`.

use clap::Args;
use hoist_api::endpoints::{RollbackCreate, RollbackGet};
use hoist_api::types::{AppPath, Empty, RollbackRequest};

use crate::args::{AppArgs, FollowArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::Subject;

/// What a rollback does not bring back.
const STAYS: &str =
    "build and env go back; volumes, databases and sizes (`hoist scale`) stay as they are";

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The release to go back to, R… [default: the last one that served before]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    promote: PromoteArgs,
    #[command(flatten)]
    follow: FollowArgs,
}

pub(crate) async fn run(args: Rollback, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&args.app)?;
    let client = context.client()?;
    let path = AppPath { app: app.clone() };
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    flow.tell_what_is_waited_for(&args.promote).await?;
    let to = match args.release {
        Some(release) => release,
        None => {
            let asked = client.call::<RollbackGet>(&path, &Empty {}, &Empty {});
            asked.await?.release
        }
    };
    flow.tell_what_changes(&to).await?;
    if !flow.context.out.json() {
        flow.context.out.note(STAYS)?;
    }
    flow.context.out.begin(&format!("Rolling back to {to}"))?;
    let body = RollbackRequest {
        release: Some(to),
        if_busy: args.promote.if_busy.into(),
        timeout_seconds: args.promote.timeout,
    };
    flow.not_known_to_have_begun();
    let begun = client
        .call::<RollbackCreate>(&path, &Empty {}, &body)
        .await?;
    flow.context
        .out
        .done(&format!("OK, {}", begun.release.id))?;
    if args.follow.id && !flow.context.out.json() {
        flow.context.out.line(&begun.release.id)?;
    }
    let promotion = if args.follow.detach {
        flow.leave(begun.promotion)?
    } else {
        flow.see_through(begun.promotion, &Subject::Release).await?
    };
    if context.out.json() {
        context.out.print_json(&promotion)?;
    }
    live(&promotion)
}
