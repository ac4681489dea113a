//! `hoist manifest`: what a manifest says, before anything is built, and without a rack.

mod shown;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hoist_api::endpoints::ReleaseGet;
use hoist_api::types::{Empty, ReleasePath, RevealQuery};
use hoist_core::manifest::{self, Dialect, Manifest, ManifestError, Warning};
use serde::Serialize;

use crate::args::AppArgs;
use crate::context::Context;
use crate::error::CliError;
use shown::Shown;

#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Say whether a manifest is right, and what in it is not acted on
    Validate {
        /// The source directory, or the file
        #[arg(default_value = ".", value_name = "DIR|FILE")]
        path: PathBuf,
    },
    /// Show a manifest as it is read, with every default filled in
    Show {
        /// The source directory, or the file
        #[arg(
            default_value = ".",
            value_name = "DIR|FILE",
            conflicts_with = "release"
        )]
        path: PathBuf,
        /// That of a release, R…
        #[arg(long, value_name = "R")]
        release: Option<String>,
        #[command(flatten)]
        app: AppArgs,
    },
}

/// A manifest's text and what it is called.
struct Text {
    /// For messages.
    name: String,
    dialect: Dialect,
    text: String,
    /// What stands for its variables. A release's are not known here: its manifest is shown as it was written.
    variables: Option<BTreeMap<String, String>>,
}

/// Whether a manifest is right, as JSON.
#[derive(Debug, Serialize)]
struct Validated {
    file: String,
    valid: bool,
    services: Vec<String>,
    warnings: Vec<Note>,
    error: Option<Note>,
}

/// Something that is to be said about a line.
#[derive(Debug, Serialize)]
struct Note {
    line: Option<u32>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub(crate) async fn run(args: ManifestArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    match args.command {
        ManifestCommand::Validate { path } => validate(&path, context),
        ManifestCommand::Show {
            path,
            release: None,
            ..
        } => {
            let text = find(&context.environment.directory.join(path), context)?;
            show(&text, context)
        }
        ManifestCommand::Show {
            release: Some(release),
            app,
            ..
        } => {
            let text = of_release(release, &app, context).await?;
            show(&text, context)
        }
    }
}

/// The file itself, or the one of a source directory that a deploy would read.
fn find(path: &Path, context: &Context<'_, '_>) -> Result<Text, CliError> {
    let hint = "name the source directory or the manifest";
    let file = if path.is_dir() {
        let present = Dialect::ALL.map(Dialect::file_name);
        let present = present.iter().filter(|name| path.join(name).is_file());
        match manifest::choose(present.copied()) {
            Ok(dialect) => path.join(dialect.file_name()),
            Err(error) => return Err(refused(&error)),
        }
    } else {
        path.to_owned()
    };
    let name = file
        .strip_prefix(&context.environment.directory)
        .unwrap_or(&file);
    let name = name.strip_prefix(".").unwrap_or(name).display().to_string();
    let bytes = std::fs::read(&file)
        .map_err(|error| CliError::refused(format!("cannot read {name}: {error}"), hint))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        CliError::refused(
            format!("{name}:{line}: this is not text in UTF-8"),
            "save the file as UTF-8",
        )
    })?;
    Ok(Text {
        dialect: Dialect::of_file(&name),
        name,
        text,
        // As for a new app, which has no environment: each variable takes its default.
        variables: Some(BTreeMap::new()),
    })
}

/// The manifest that a release was made with.
async fn of_release(
    release: String,
    app: &AppArgs,
    context: &Context<'_, '_>,
) -> Result<Text, CliError> {
    let path = ReleasePath {
        app: context.app(app)?,
        release,
    };
    let client = context.client()?;
    let query = RevealQuery { reveal: false };
    let release = client.call::<ReleaseGet>(&path, &query, &Empty {}).await?;
    let name = format!("the manifest of {}", release.id);
    let text = release.manifest.ok_or_else(|| {
        CliError::refused(
            format!("{} has no manifest: nothing was built for it", release.id),
            format!(
                "`hoist releases -a {}` shows which releases have a build",
                path.app
            ),
        )
    })?;
    // It does not say which file it was, but one of them reads it without an error.
    let read = |dialect: &Dialect| manifest::read(*dialect, &name, &text).is_ok();
    let dialect = Dialect::ALL
        .into_iter()
        .find(read)
        .unwrap_or(Dialect::Hoist);
    Ok(Text {
        name,
        dialect,
        text,
        variables: None,
    })
}

fn read(text: &Text) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    match &text.variables {
        Some(variables) => manifest::read_with(text.dialect, &text.name, &text.text, variables),
        None => manifest::read(text.dialect, &text.name, &text.text),
    }
}

fn validate(path: &Path, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let text = find(&context.environment.directory.join(path), context)?;
    match read(&text) {
        Ok((manifest, warnings)) => {
            let services = manifest.services.iter();
            let validated = Validated {
                file: text.name,
                valid: true,
                services: services.map(|(name, _)| name.to_string()).collect(),
                warnings: warnings.iter().map(note).collect(),
                error: None,
            };
            tell(&validated, &warnings, context)
        }
        Err(error) if context.out.json() => {
            context.out.print_json(&Validated {
                file: text.name,
                valid: false,
                services: Vec::new(),
                warnings: Vec::new(),
                error: Some(Note {
                    line: error.line(),
                    message: error.to_string(),
                    hint: error.hint().map(str::to_owned),
                }),
            })?;
            Err(CliError::Said { exit_code: 1 })
        }
        Err(error) => Err(refused(&error)),
    }
}

fn tell(
    validated: &Validated,
    warnings: &[Warning],
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    if context.out.json() {
        return context.out.print_json(validated);
    }
    for warning in warnings {
        context.out.warn(&warning.to_string())?;
    }
    let Validated { file, services, .. } = validated;
    let warned = match warnings.len() {
        0 => String::new(),
        1 => ", with 1 warning".to_owned(),
        count => format!(", with {count} warnings"),
    };
    context
        .out
        .line(&format!("{file} is valid{warned}: {}", services.join(", ")))
}

fn note(warning: &Warning) -> Note {
    Note {
        line: warning.line,
        message: warning.message.clone(),
        hint: None,
    }
}

/// What is wrong, where, and the line itself.
fn refused(error: &ManifestError) -> CliError {
    let mut message = error.to_string();
    if let Some(snippet) = error.snippet() {
        message.push('\n');
        message.push_str(snippet);
    }
    let hint = error
        .hint()
        .unwrap_or("docs/guide/hoist.reference.yml has every key with its forms");
    CliError::refused(message, hint)
}

fn show(text: &Text, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let (manifest, warnings) = read(text).map_err(|error| refused(&error))?;
    for warning in &warnings {
        context.out.warn(&warning.to_string())?;
    }
    let shown = Shown::of(&manifest);
    if context.out.json() {
        return context.out.print_json(&shown);
    }
    let yaml = shown
        .yaml()
        .map_err(|error| CliError::Output(std::io::Error::other(error)))?;
    context.out.line(yaml.trim_end())
}
