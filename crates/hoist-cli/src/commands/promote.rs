//! `hoist promote` and `hoist releases promote`.

use clap::Args;

use crate::args::{AppArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::output::Subject;

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The release, R… [default: the newest]
    release: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    promote: PromoteArgs,
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
        None => flow.newest_release().await?,
    };
    let promotion = flow
        .promote(&release, &args.promote, &Subject::Release)
        .await?;
    if context.out.json() {
        context.out.print_json(&promotion)?;
    }
    live(&promotion)
}
