//! `hoist env mask`: whose values a terminal shows only when asked to.

use clap::{Args, Subcommand};
use hoist_api::endpoints::{EnvMaskGet, EnvMaskUpdate};
use hoist_api::types::{Empty, EnvMask, EnvMaskRequest};

use super::named;
use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Mask {
    #[command(flatten)]
    app: AppArgs,
    #[command(subcommand)]
    command: Option<MaskCommand>,
}

#[derive(Debug, Subcommand)]
enum MaskCommand {
    /// Mask variables, which need not be set
    Set(Names),
    /// Show variables again
    Unset(Names),
}

#[derive(Debug, Args)]
struct Names {
    /// Their names
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    app: AppArgs,
}

pub(super) async fn run(args: Mask, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let Some(command) = args.command else {
        let path = context.app_path(&args.app)?;
        let client = context.client()?;
        let mask = client
            .call::<EnvMaskGet>(&path, &Empty {}, &Empty {})
            .await?;
        return match context.out.json() {
            true => context.out.print_json(&mask),
            false => mask
                .names
                .iter()
                .try_for_each(|name| context.out.line(name)),
        };
    };
    let (word, names, body) = match command {
        MaskCommand::Set(names) => {
            let set = names.keys.clone();
            let body = EnvMaskRequest {
                set,
                unset: Vec::new(),
            };
            ("Masking", names, body)
        }
        MaskCommand::Unset(names) => {
            let unset = names.keys.clone();
            let body = EnvMaskRequest {
                set: Vec::new(),
                unset,
            };
            ("Unmasking", names, body)
        }
    };
    let path = context.app_path(&names.app)?;
    let client = context.client()?;
    context
        .out
        .begin(&format!("{word} {}", named(&names.keys)))?;
    let mask: EnvMask = client
        .call::<EnvMaskUpdate>(&path, &Empty {}, &body)
        .await?;
    context.out.done("OK")?;
    match context.out.json() {
        true => context.out.print_json(&mask),
        false => Ok(()),
    }
}
