//! `hoist deploy`: build, release and promote in one command.

use clap::Args;
use hoist_api::types::{Build, Promotion};
use serde::Serialize;

use crate::args::{PromoteArgs, SourceArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, StandsOn, live};
use crate::package::Source;

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
    #[serde(flatten)]
    pub(crate) stands_on: StandsOn,
    /// Nothing changed since that build: it was there before.
    pub(crate) unchanged: bool,
    /// Null when the release was active already.
    pub(crate) promotion: Option<Promotion>,
}

impl Deployed {
    /// Builds a source and makes it live, as far as that is not so already.
    pub(crate) async fn of(
        flow: &mut Flow<'_, '_, '_>,
        source: Source,
        args: &SourceArgs,
        promote: &PromoteArgs,
    ) -> Result<Self, CliError> {
        let built = flow.build(args, source).await?;
        let promotion = flow.make_live(&built, promote).await?;
        Ok(Self {
            app: flow.app.clone(),
            release: built.release,
            build: built.build,
            stands_on: built.stands_on,
            unchanged: built.unchanged.is_some(),
            promotion,
        })
    }

    /// Success, or the error that becomes exit code 4.
    pub(crate) fn live(&self) -> Result<(), CliError> {
        self.promotion.as_ref().map_or(Ok(()), live)
    }
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
    // A source that cannot be packaged leaves no app behind.
    let source = flow.package(&args.source)?;
    flow.ensure_app(args.source.no_create).await?;
    let deployed = Deployed::of(&mut flow, source, &args.source, &args.promote).await?;
    if context.out.json() {
        context.out.print_json(&deployed)?;
    }
    deployed.live()
}
