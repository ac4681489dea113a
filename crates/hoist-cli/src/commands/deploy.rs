//! `hoist deploy`: build, release and promote in one command.

use clap::Args;
use hoist_api::types::{Build, Promotion};
use serde::Serialize;

use crate::args::{PromoteArgs, SourceArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::Subject;

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    promote: PromoteArgs,
}

/// What a deploy came to, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Deployed {
    pub(crate) app: String,
    pub(crate) release: String,
    pub(crate) build: Build,
    pub(crate) promotion: Promotion,
}

pub(crate) async fn run(args: Deploy, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let directory = context.environment.directory.join(&args.source.dir);
    let app = context.app_of(&args.source.app, &directory)?;
    let client = context.client()?;
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    flow.ensure_app(args.source.no_create).await?;
    let source = flow.package(&args.source)?;
    let build = flow.build(&args.source, source).await?;
    let release = build.release.clone().unwrap_or_default();
    let promotion = flow
        .promote(&release, &args.promote, &Subject::Deploy)
        .await?;
    let deployed = Deployed {
        app: flow.app,
        release,
        build,
        promotion,
    };
    if context.out.json() {
        context.out.print_json(&deployed)?;
    }
    live(&deployed.promotion)
}
