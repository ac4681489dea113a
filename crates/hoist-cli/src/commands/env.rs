//! `hoist env`: show the environment, or make a release with another one.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use hoist_api::endpoints::{EnvGet, EnvUpdate};
use hoist_api::types::{AppPath, Empty, EnvUpdateRequest, RevealQuery};

use crate::args::{AppArgs, FromArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::lineage;
use crate::output::Subject;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Env {
    #[command(flatten)]
    app: AppArgs,
    /// Do not show values
    #[arg(long)]
    masked: bool,
    #[command(subcommand)]
    command: Option<EnvCommand>,
}

#[derive(Debug, Subcommand)]
enum EnvCommand {
    /// Show the value of one variable
    Get {
        /// Its name
        key: String,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Set variables: one new release
    Set {
        /// KEY=VALUE
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
        variables: Vec<(String, String)>,
        #[command(flatten)]
        change: Change,
    },
    /// Remove variables: one new release
    Unset {
        /// Their names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    app: AppArgs,
    /// Promote the new release
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    how: PromoteArgs,
    #[command(flatten)]
    from: FromArgs,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// `K=V`, or stars for a value that is not shown.
pub(super) fn assignment(key: &str, value: &Option<String>) -> String {
    format!("{key}={}", value.as_deref().unwrap_or("****"))
}

pub(crate) async fn run(args: Env, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => show(&args.app, args.masked, context).await,
        Some(EnvCommand::Get { key, app }) => get(&key, &app, context).await,
        Some(EnvCommand::Set { variables, change }) => {
            let keys: Vec<_> = variables.iter().map(|(key, _)| key.clone()).collect();
            let set: BTreeMap<_, _> = variables.into_iter().collect();
            let body = EnvUpdateRequest {
                set,
                ..EnvUpdateRequest::default()
            };
            update(
                &format!("Setting {}", keys.join(", ")),
                body,
                change,
                context,
            )
            .await
        }
        Some(EnvCommand::Unset { keys, change }) => {
            let step = format!("Unsetting {}", keys.join(", "));
            let body = EnvUpdateRequest {
                unset: keys,
                ..EnvUpdateRequest::default()
            };
            update(&step, body, change, context).await
        }
    }
}

async fn show(app: &AppArgs, masked: bool, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let query = RevealQuery { reveal: !masked };
    let env = context
        .client()?
        .call::<EnvGet>(&path, &query, &Empty {})
        .await?;
    if context.out.json() {
        return context.out.print_json(&env);
    }
    for (key, value) in &env.env {
        context.out.line(&assignment(key, value))?;
    }
    Ok(())
}

async fn get(key: &str, app: &AppArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(app)?;
    let env = context
        .client()?
        .call::<EnvGet>(&path, &RevealQuery { reveal: true }, &Empty {})
        .await?;
    match env.env.get(key) {
        Some(value) if context.out.json() => context.out.print_json(value),
        Some(value) => context.out.line(value.as_deref().unwrap_or_default()),
        None => Err(CliError::refused(
            format!("{} has no variable {key}", path.app),
            format!("`hoist env -a {}` lists them", path.app),
        )),
    }
}

async fn update(
    step: &str,
    body: EnvUpdateRequest,
    change: Change,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let body = EnvUpdateRequest {
        from: change.from.from.clone(),
        ..body
    };
    let app = context.app(&change.app)?;
    let client = context.client()?;
    context.out.begin(step)?;
    let release = client
        .call::<EnvUpdate>(&AppPath { app: app.clone() }, &Empty {}, &body)
        .await?;
    context.out.done("OK")?;
    if !context.out.json() {
        context.out.label("Release", &release.id)?;
    }
    lineage::tell(context.out, &release)?;
    if !change.promote {
        return if context.out.json() {
            context.out.print_json(&release)
        } else {
            Ok(())
        };
    }
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    let promotion = flow
        .promote(&release.id, &change.how, &Subject::Release)
        .await?;
    if context.out.json() {
        context.out.print_json(&promotion)?;
    }
    live(&promotion)
}
