//! `hoist env`: show the environment, or make a release with another one.

mod edit;
mod given;
mod mask;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use hoist_api::client::Client;
use hoist_api::endpoints::{EnvGet, EnvUpdate};
use hoist_api::types::{AppPath, Empty, Env as Variables, EnvQuery, EnvUpdateRequest, Release};
use hoist_core::env_text;

use crate::args::{AppArgs, FromArgs, PromoteArgs, start};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::lineage;
use crate::nearest;
use crate::output::Subject;

/// So many names are told when they change; more are counted.
const NAMES_MAX: usize = 10;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Env {
    #[command(flatten)]
    whose: Whose,
    /// Do not show values
    #[arg(long, conflicts_with = "reveal")]
    masked: bool,
    #[command(subcommand)]
    command: Option<EnvCommand>,
}

/// Of which app and release, and whether to show what is masked.
#[derive(Debug, Args)]
struct Whose {
    #[command(flatten)]
    app: AppArgs,
    /// Of another release: active, newest, or R… [default: what the next release starts from]
    #[arg(long, alias = "release", value_name = "WHAT", value_parser = start)]
    from: Option<String>,
    /// Show values of masked variables on a terminal as well
    #[arg(long)]
    reveal: bool,
}

#[derive(Debug, Subcommand)]
enum EnvCommand {
    /// Show the value of one variable
    Get {
        /// Its name
        key: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Set variables: one new release
    Set(given::Set),
    /// Remove variables: one new release
    Unset {
        /// Their names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        change: Change,
    },
    /// Change variables in an editor: one new release
    Edit {
        #[command(flatten)]
        change: Change,
    },
    /// List the variables whose values a terminal does not show, or change which they are
    Mask(mask::Mask),
}

/// What a new release is made from, and what becomes of it.
#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    app: AppArgs,
    /// Promote the new release
    #[arg(short, long)]
    promote: bool,
    /// Print nothing but the release's id on standard output
    #[arg(long)]
    id: bool,
    #[command(flatten)]
    how: PromoteArgs,
    #[command(flatten)]
    from: FromArgs,
}

/// `K=V` as it reads back, or stars for a value that is not shown.
pub(super) fn assignment(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => env_text::line(key, value),
        None => format!("{key}={}", env_text::HIDDEN),
    }
}

pub(crate) async fn run(args: Env, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => show(&args.whose, args.masked, context).await,
        Some(EnvCommand::Get { key, whose }) => get(&key, &whose, context).await,
        Some(EnvCommand::Set(set)) => {
            let given = set.given(context).await?;
            let step = format!("Setting {}", named(set.names(&given)));
            let body = EnvUpdateRequest {
                set: given,
                replace: set.replace,
                ..EnvUpdateRequest::default()
            };
            update(&step, body, set.change, context).await
        }
        Some(EnvCommand::Unset { keys, change }) => {
            let step = format!("Unsetting {}", named(&keys));
            let body = EnvUpdateRequest {
                unset: keys,
                ..EnvUpdateRequest::default()
            };
            update(&step, body, change, context).await
        }
        Some(EnvCommand::Edit { change }) => edit::run(change, context).await,
        Some(EnvCommand::Mask(mask)) => mask::run(mask, context).await,
    }
}

/// Names with commas between; of very many how many they are.
fn named<'k>(names: impl IntoIterator<Item = &'k String>) -> String {
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    match names.len() {
        0..=NAMES_MAX => names.join(", "),
        many => format!("{many} variables"),
    }
}

/// The environment; what a terminal must not show is left out of it.
async fn asked(
    whose: &Whose,
    masked: bool,
    context: &mut Context<'_, '_>,
) -> Result<Variables, CliError> {
    let path = context.app_path(&whose.app)?;
    let query = EnvQuery {
        reveal: !masked,
        from: whose.from.clone(),
    };
    let client = context.client()?;
    let mut found = client.call::<EnvGet>(&path, &query, &Empty {}).await?;
    if context.environment.stdout_terminal && !whose.reveal {
        let hidden = found.masked.iter();
        hidden.for_each(|name| drop(found.env.get_mut(name).and_then(Option::take)));
    }
    Ok(found)
}

async fn show(whose: &Whose, masked: bool, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let found = asked(whose, masked, context).await?;
    if context.out.json() {
        return context.out.print_json(&found);
    }
    for (key, value) in &found.env {
        context.out.line(&assignment(key, value.as_deref()))?;
    }
    Ok(())
}

async fn get(key: &str, whose: &Whose, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let found = asked(whose, false, context).await?;
    match found.env.get(key) {
        Some(value) if context.out.json() => context.out.print_json(value),
        Some(Some(value)) => context.out.line(value),
        Some(None) => {
            context.out.line(env_text::HIDDEN)?;
            let text = format!("{key} is masked: --reveal shows it");
            context.out.note(&text)
        }
        None => {
            let app = context.app(&whose.app)?;
            let known: Vec<_> = found.env.into_keys().collect();
            let list = format!("`hoist env -a {app}` lists what is set");
            let hint = match nearest::nearest(key, &known) {
                Some((_, near)) => format!("did you mean `{near}`? otherwise: {list}"),
                None => list,
            };
            let message = format!("`{key}` is not set in app `{app}`");
            Err(CliError::refused(message, hint))
        }
    }
}

async fn update(
    step: &str,
    body: EnvUpdateRequest,
    change: Change,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let app = context.app(&change.app)?;
    let client = context.client()?;
    let release = make(step, body, &change, (&client, &app), context).await?;
    go_on(release, change, (&client, app), context).await
}

/// Makes the release, and says what it stands on.
async fn make(
    step: &str,
    body: EnvUpdateRequest,
    change: &Change,
    (client, app): (&Client, &str),
    context: &mut Context<'_, '_>,
) -> Result<Release, CliError> {
    let body = EnvUpdateRequest {
        from: change.from.from.clone(),
        ..body
    };
    let path = AppPath {
        app: app.to_owned(),
    };
    let query = EnvQuery {
        reveal: false,
        from: body.from.clone(),
    };
    context.out.begin(step)?;
    let before = client.call::<EnvGet>(&path, &query, &Empty {}).await?;
    let release = client.call::<EnvUpdate>(&path, &Empty {}, &body).await?;
    context.out.done("OK")?;
    // A release that was there before is none that this made.
    if before.release.as_ref() == Some(&release.id) {
        context.out.note("nothing changed: no new release")?;
    }
    Ok(release)
}

/// Names the release, and promotes it when that is wanted.
async fn go_on(
    release: Release,
    change: Change,
    (client, app): (&Client, String),
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let json = context.out.json();
    match change.id {
        _ if json => {}
        true => context.out.line(&release.id)?,
        false => context.out.label("Release", &release.id)?,
    }
    lineage::tell(context.out, &release)?;
    if !change.promote {
        return match json {
            true => context.out.print_json(&release),
            false => Ok(()),
        };
    }
    let mut flow = Flow {
        context,
        client,
        app,
        timed: false,
    };
    let promotion = flow
        .promote(&release.id, &change.how, &Subject::Release)
        .await?;
    if json {
        context.out.print_json(&promotion)?;
    }
    live(&promotion)
}

/// Variables as pairs, each name once.
fn once(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut all = BTreeMap::new();
    for (key, value) in pairs {
        if all.insert(key.clone(), value).is_some() {
            return Err(CliError::usage(
                format!("{key} is given twice"),
                "give each variable once",
            ));
        }
    }
    Ok(all)
}
