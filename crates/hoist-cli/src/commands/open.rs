//! `hoist open`: where an app is served, shown in a browser where there is one.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use clap::Args;
use hoist_api::endpoints::AppGet;
use hoist_api::types::{App, Empty};
use serde_json::json;

use crate::args::AppArgs;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct Open {
    /// Another service than the main one
    service: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    /// Only print the address
    #[arg(long)]
    print: bool,
}

pub(crate) async fn run(args: Open, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let path = context.app_path(&args.app)?;
    let client = context.client()?;
    let app = client.call::<AppGet>(&path, &Empty {}, &Empty {}).await?;
    let url = url_of(&app, args.service.as_deref())?;
    if context.out.json() {
        context.out.print_json(&json!({ "url": url }))?;
    } else {
        context.out.line(&url)?;
    }
    if app.release.is_none() {
        let name = &app.name;
        context.out.warn(&format!(
            "nothing of {name} serves yet: `hoist deploy -a {name}`"
        ))?;
    }
    if args.print || context.out.json() {
        return Ok(());
    }
    context.out.flush()?;
    match browser(context.environment) {
        Ok(program) => match start(&program, &url) {
            Ok(()) => Ok(()),
            Err(error) => {
                let program = program.to_string_lossy();
                context.out.note(&format!(
                    "{program} does not start ({error}): open the address yourself"
                ))
            }
        },
        Err(why) => context
            .out
            .note(&format!("{why}: open the address yourself")),
    }
}

/// The address of a service that is reached from outside.
fn url_of(app: &App, service: Option<&str>) -> Result<String, CliError> {
    let name = &app.name;
    let Some(service) = service else {
        return app.url.clone().ok_or_else(|| {
            CliError::refused(
                format!("{name} has no address: no service of it has a port"),
                "give one a `port` in the manifest and deploy",
            )
        });
    };
    app.urls.get(service).cloned().ok_or_else(|| {
        let known: Vec<_> = app.urls.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "give one a `port` in the manifest and deploy".to_owned()
        } else {
            format!("reached from outside: {}", known.join(", "))
        };
        CliError::refused(
            format!("{name} has no service `{service}` with an address"),
            hint,
        )
    })
}

/// The program that opens addresses, or why there is none.
fn browser(environment: &Environment) -> Result<OsString, &'static str> {
    match &environment.browser {
        // Whoever names one knows that it works, also over SSH.
        Some(program) => Ok(program.clone()),
        None if environment.over_ssh => Err("this is a session over SSH"),
        None if cfg!(target_os = "macos") => Ok("open".into()),
        None if environment.display => Ok("xdg-open".into()),
        None => Err("there is no display"),
    }
}

/// Starts a browser and does not wait for it: it may stay open for days.
fn start(program: &OsString, url: &str) -> std::io::Result<()> {
    let mut browser = Command::new(program);
    browser
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    browser.spawn().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_needs_a_display_unless_it_is_named() {
        let of = |browser: Option<&str>, display, over_ssh| {
            super::browser(&Environment {
                browser: browser.map(Into::into),
                display,
                over_ssh,
                ..Environment::default()
            })
        };
        assert_eq!(of(Some("firefox"), false, true), Ok("firefox".into()));
        assert_eq!(of(None, true, true), Err("this is a session over SSH"));
        if cfg!(not(target_os = "macos")) {
            assert_eq!(of(None, true, false), Ok("xdg-open".into()));
            assert_eq!(of(None, false, false), Err("there is no display"));
        }
    }
}
