//! `hoist apps params`: what is set for an app as a whole.

use clap::{Args, Subcommand};
use hoist_api::endpoints::{AppParamsGet, AppParamsUpdate};
use hoist_api::types::{AppParam, AppParams, AppParamsUpdateRequest, Empty};
use hoist_core::limits::{KEEP_RELEASES_MAX, PROMOTION_LIMIT_MAX};

use super::logs;
use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::nearest::nearest;
use crate::output::Table;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Params {
    /// The app [default: the directory's name]
    #[arg(value_name = "APP", conflicts_with = "app")]
    name: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(subcommand)]
    command: Option<ParamsCommand>,
}

#[derive(Debug, Subcommand)]
enum ParamsCommand {
    /// Set parameters; what is in flight keeps what it began with
    Set {
        /// timeout=10m: after what a promotion goes back; keep=50: newest releases that are kept, or all; default gives one back
        #[arg(value_name = "NAME=VALUE", required = true)]
        params: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
    },
}

pub(crate) async fn run(args: Params, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        None => {
            let path = context.app_path(&AppArgs {
                app: args.name.or(args.app.app),
            })?;
            let params = context
                .client()?
                .call::<AppParamsGet>(&path, &Empty {}, &Empty {})
                .await?;
            context.out.data(&params, table)
        }
        Some(ParamsCommand::Set { params, app }) => {
            let request = request(&params)?;
            let path = context.app_path(&app)?;
            let client = context.client()?;
            context.out.begin("Updating parameters")?;
            let params = client
                .call::<AppParamsUpdate>(&path, &Empty {}, &request)
                .await?;
            context.out.done("OK")?;
            if context.out.json() {
                context.out.print_json(&params)?;
            }
            Ok(())
        }
    }
}

/// What is asked of the rack.
fn request(params: &[String]) -> Result<AppParamsUpdateRequest, CliError> {
    let mut request = AppParamsUpdateRequest::default();
    let mut seen = Vec::new();
    for text in params {
        let Some((name, value)) = text.split_once('=') else {
            return Err(CliError::usage(
                format!("`{text}` has no value"),
                "write NAME=VALUE, as `hoist apps params set timeout=10m`",
            ));
        };
        let param = AppParam::from_word(name);
        if seen.contains(&param) {
            return Err(CliError::usage(
                format!("{name} is there twice"),
                "name each parameter once",
            ));
        }
        seen.push(param);
        match (param, value) {
            (AppParam::Unknown, _) => return Err(unknown(name)),
            (param, "default") => request.reset.push(param),
            (AppParam::Timeout, value) => request.timeout_seconds = Some(timeout(value)?),
            (AppParam::Keep, value) => request.keep_releases = Some(keep(value)?),
        }
    }
    Ok(request)
}

fn unknown(name: &str) -> CliError {
    let known: Vec<String> = AppParam::ALL
        .iter()
        .map(|param| param.as_str().to_owned())
        .collect();
    let hint = match nearest(name, &known) {
        Some((_, meant)) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", known.join(" and ")),
    };
    CliError::usage(format!("there is no parameter `{name}`"), hint)
}

fn timeout(text: &str) -> Result<u64, CliError> {
    let most = PROMOTION_LIMIT_MAX.0 / 1_000;
    let seconds = logs::seconds(text).ok();
    let seconds = seconds.filter(|seconds| (1..=most).contains(seconds));
    seconds.ok_or_else(|| {
        CliError::usage(
            format!("`{text}` is not a timeout: 1 to {most} seconds, which is a day"),
            "write seconds, or a unit, as 300, 10m or 1h; `timeout=default` gives it back",
        )
    })
}

/// Releases; 0 for all of them.
fn keep(text: &str) -> Result<u32, CliError> {
    let number = match text {
        "all" => Some(0),
        number => number.parse().ok(),
    };
    let number = number.filter(|number| *number <= KEEP_RELEASES_MAX);
    number.ok_or_else(|| {
        CliError::usage(
            format!("`{text}` is not a number of releases: 1 to {KEEP_RELEASES_MAX}, or all"),
            "write `keep=100` or `keep=all`; `keep=default` gives it back",
        )
    })
}

fn table(params: &AppParams) -> Table {
    let timeout = |seconds| length(seconds);
    let keep = |number| match number {
        0 => "all".to_owned(),
        number => number.to_string(),
    };
    let rows = [
        (
            AppParam::Timeout,
            timeout(params.timeout_seconds),
            timeout(params.timeout_seconds_default),
            "after what a promotion goes back",
        ),
        (
            AppParam::Keep,
            keep(params.keep_releases),
            keep(params.keep_releases_default),
            "newest releases that are kept, beside those that are needed",
        ),
    ];
    let rows = rows.map(|(name, value, default, meaning)| {
        [
            name.as_str().into(),
            value.into(),
            default.into(),
            meaning.into(),
        ]
    });
    Table::list(["NAME", "VALUE", "DEFAULT", "MEANING"], rows)
}

/// Seconds in the largest unit that holds them exactly, as `set` takes it.
fn length(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units
        .iter()
        .find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    match whole {
        Some((size, unit)) => format!("{}{unit}", seconds / size),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(params: &[&str]) -> Result<AppParamsUpdateRequest, String> {
        let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
        request(&params).map_err(|error| match error {
            CliError::Usage { message, hint } => format!("{message}; {hint}"),
            other => other.to_string(),
        })
    }

    #[test]
    fn what_is_written_is_what_is_asked() {
        let wanted = AppParamsUpdateRequest {
            timeout_seconds: Some(600),
            keep_releases: Some(0),
            reset: Vec::new(),
        };
        assert_eq!(asked(&["timeout=10m", "keep=all"]), Ok(wanted));
        let back = AppParamsUpdateRequest {
            timeout_seconds: Some(300),
            keep_releases: None,
            reset: vec![AppParam::Keep],
        };
        assert_eq!(asked(&["timeout=300", "keep=default"]), Ok(back));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (params, words) in [
            (&["timout=3"][..], "did you mean `timeout`?"),
            (&["color=red"], "there are timeout and keep"),
            (&["timeout"], "has no value"),
            (&["timeout=0"], "1 to 86400 seconds"),
            (&["timeout=2d"], "1 to 86400 seconds"),
            (&["timeout="], "1 to 86400 seconds"),
            (&["keep=-1"], "1 to 1000000, or all"),
            (&["keep=9999999"], "1 to 1000000, or all"),
            (&["keep=1", "keep=2"], "keep is there twice"),
        ] {
            let refused = asked(params).expect_err("refused");
            assert!(refused.contains(words), "{params:?}: {refused}");
        }
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for (seconds, text) in [(1, "1s"), (90, "90s"), (600, "10m"), (86_400, "1d")] {
            assert_eq!(length(seconds), text);
            assert_eq!(logs::seconds(text), Ok(seconds));
        }
    }
}
