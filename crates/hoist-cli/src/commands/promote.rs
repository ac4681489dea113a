//! `hoist promote` and `hoist releases promote`.

use clap::Args;

use crate::args::{AppArgs, FollowArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::Subject;

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The release, R… [default: the active one with what is staged on it]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    promote: PromoteArgs,
    #[command(flatten)]
    follow: FollowArgs,
}

pub(crate) async fn run(args: Promote, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = context.app(&args.app)?;
    let client = context.client()?;
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    let release = match args.release {
        Some(release) => release,
        None => flow.next_release().await?,
    };
    promote(&mut flow, &release, &args.promote, &args.follow).await
}

/// Promotes a release, and follows that as far as it is wanted.
pub(super) async fn promote(
    flow: &mut Flow<'_, '_, '_>,
    release: &str,
    args: &PromoteArgs,
    follow: &FollowArgs,
) -> Result<(), CliError> {
    if follow.id && !flow.context.out.json() {
        flow.context.out.line(release)?;
    }
    let begun = flow.begin_promotion(release, args).await?;
    let promotion = if follow.detach {
        flow.context.out.done("OK")?;
        flow.leave(begun)?
    } else {
        flow.see_through(begun, &Subject::Release).await?
    };
    if flow.context.out.json() {
        flow.context.out.print_json(&promotion)?;
    }
    live(&promotion)
}
