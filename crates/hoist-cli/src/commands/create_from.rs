//! `hoist releases create-from`: a release of one's build and another's environment.

use clap::Args;
use hoist_api::endpoints::ReleaseCreate;
use hoist_api::types::{AppPath, Empty, ReleaseCreateRequest};

use super::promote;
use crate::args::{AppArgs, FollowArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::Flow;

#[derive(Debug, Args)]
pub(crate) struct CreateFrom {
    /// Take the build of this release
    #[arg(long, value_name = "R…")]
    build_from: Option<String>,
    /// Take the environment of this release
    #[arg(long, value_name = "R…")]
    env_from: Option<String>,
    /// Take the build of the active release
    #[arg(long)]
    use_active_release_build: bool,
    /// Take the environment of the active release
    #[arg(long)]
    use_active_release_env: bool,
    #[command(flatten)]
    app: AppArgs,
    /// Promote the new release
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    how: PromoteArgs,
    #[command(flatten)]
    follow: FollowArgs,
}

/// The one source that was named of `what`.
fn source(what: &str, named: Option<String>, active: bool) -> Result<String, CliError> {
    let flags = format!("--{what}-from R…, or --use-active-release-{what}");
    match (named, active) {
        (Some(release), false) => Ok(release),
        (None, true) => Ok("active".to_owned()),
        (None, false) => Err(CliError::usage(
            format!("where the {what} comes from is missing"),
            flags,
        )),
        (Some(_), true) => Err(CliError::usage(
            format!("the {what} cannot come from two releases"),
            format!("give one of {flags}"),
        )),
    }
}

pub(crate) async fn run(args: CreateFrom, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let body = ReleaseCreateRequest {
        build_from: source("build", args.build_from, args.use_active_release_build)?,
        env_from: source("env", args.env_from, args.use_active_release_env)?,
    };
    let app = context.app(&args.app)?;
    let client = context.client()?;
    let path = AppPath { app: app.clone() };
    context.out.begin("Creating release")?;
    let release = client
        .call::<ReleaseCreate>(&path, &Empty {}, &body)
        .await?;
    context.out.done("OK")?;
    if !context.out.json() {
        match args.follow.id {
            true => context.out.line(&release.id)?,
            false => context.out.label("Release", &release.id)?,
        }
    }
    if !args.promote {
        return match context.out.json() {
            true => context.out.print_json(&release),
            false => Ok(()),
        };
    }
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    let follow = FollowArgs {
        // It was printed already.
        id: false,
        ..args.follow
    };
    promote::promote(&mut flow, &release.id, &args.how, &follow).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_comes_from_exactly_one_release() {
        let ok = |named: Option<&str>, active| source("env", named.map(str::to_owned), active);
        assert!(matches!(ok(Some("R1"), false), Ok(release) if release == "R1"));
        assert!(matches!(ok(None, true), Ok(release) if release == "active"));
        for wrong in [ok(None, false), ok(Some("R1"), true)] {
            assert!(matches!(wrong, Err(CliError::Usage { .. })));
        }
    }
}
