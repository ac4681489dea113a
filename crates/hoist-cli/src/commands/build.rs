//! `hoist build`: a release that is not promoted.

use clap::Args;
use serde::Serialize;

use crate::args::SourceArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, StandsOn};

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    source: SourceArgs,
}

/// What a build came to, as JSON.
#[derive(Debug, Serialize)]
struct Released {
    #[serde(flatten)]
    build: hoist_api::types::Build,
    #[serde(flatten)]
    stands_on: StandsOn,
}

pub(crate) async fn run(args: Build, context: &mut Context<'_, '_>) -> Result<(), CliError> {
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
    let built = flow.build(&args.source, source).await?;
    if context.out.json() {
        context.out.print_json(&Released {
            build: built.build,
            stands_on: built.stands_on,
        })
    } else {
        Ok(())
    }
}
