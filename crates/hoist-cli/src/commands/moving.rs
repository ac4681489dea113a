//! `hoist apps export/import` and `hoist builds export/import`: what moves an app to another rack.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use hoist_api::client::Download;
use hoist_api::endpoints::{AppExport, AppImport, BuildExport, BuildImport};
use hoist_api::export::{APP_HEAD, About, BUILD_HEAD, BUILDS};
use hoist_api::types::{
    AppExportRequest, AppImportQuery, AppImported, AppPath, BuildPath, Empty, ImportedId,
};
use serde_json::json;

use crate::archive::{self, Export, Passed, Watch, passphrase_entry};
use crate::args::{AppArgs, PromoteArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::flow::{Flow, live};
use crate::half::Half;
use crate::output::{Subject, bytes};
use crate::package::send;
use crate::passphrase::{Asking, Purpose, ask, passphrase};
use crate::starter::Passphrase;

#[derive(Debug, Args)]
pub(crate) struct ExportApp {
    /// The app [default: the directory's name]
    #[arg(value_name = "APP", conflicts_with = "app")]
    name: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    to: ToArgs,
    #[command(flatten)]
    env: EnvArgs,
    /// Only the active release, without those before and after it
    #[arg(long)]
    active_only: bool,
    /// Take volumes along, as they are found
    #[arg(long)]
    with_volumes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportApp {
    /// The new app's name [default: the one in the file]
    #[arg(value_name = "NAME", conflicts_with = "app")]
    name: Option<String>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    from: FromFileArgs,
    #[command(flatten)]
    env: EnvArgs,
    /// Promote the release that was active
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    how: PromoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportBuild {
    /// The build, B…
    build: String,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImportBuild {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    from: FromFileArgs,
    /// Print nothing but the release's id on standard output
    #[arg(long)]
    id: bool,
}

/// Where an export goes.
#[derive(Debug, Args)]
struct ToArgs {
    /// The file to write [default: standard output, unless it is a terminal]
    #[arg(short, long)]
    file: Option<PathBuf>,
}

/// Where an export comes from.
#[derive(Debug, Args)]
struct FromFileArgs {
    /// The file to read [default: standard input, unless it is a terminal]
    #[arg(short, long)]
    file: Option<PathBuf>,
}

/// What becomes of variables.
#[derive(Debug, Args)]
struct EnvArgs {
    /// A file whose first line is the passphrase of the env [env: HOIST_BACKUP_PASSPHRASE]
    #[arg(long, value_name = "FILE", conflicts_with = "without_env")]
    passphrase_file: Option<PathBuf>,
    /// Leave the env behind
    #[arg(long)]
    without_env: bool,
}

const PURPOSE: Purpose = Purpose {
    question: "New passphrase for the env: ",
    without: "--without-env",
};

pub(super) async fn export_app(
    args: ExportApp,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let app = context.app(&AppArgs {
        app: args.name.or(args.app.app),
    })?;
    let target = Target::open(args.to.file.as_deref(), context)?;
    let given = match args.env.without_env {
        true => None,
        false => {
            let file = args.env.passphrase_file.as_deref();
            let given = passphrase(file, Asking::Twice, PURPOSE, context)?;
            Some(given.ok_or_else(|| {
                CliError::refused(
                    format!("the env of {app} goes along only behind a passphrase"),
                    "give one with --passphrase-file or HOIST_BACKUP_PASSPHRASE; or leave the env behind with --without-env",
                )
            })?)
        }
    };
    let client = context.client()?;
    context.out.begin(&format!("Exporting app {app}"))?;
    let path = AppPath { app };
    let body = AppExportRequest {
        passphrase: given.map(|passphrase| passphrase.reveal().to_owned()),
        active_only: args.active_only,
        with_volumes: args.with_volumes,
    };
    let download = client
        .download::<AppExport>(&path, &Empty {}, &body)
        .await?;
    receive(download, target, Steps::Each, context).await
}

pub(super) async fn export_build(
    args: ExportBuild,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let path = BuildPath {
        app: context.app(&args.app)?,
        build: args.build,
    };
    let target = Target::open(args.to.file.as_deref(), context)?;
    let client = context.client()?;
    context.out.begin("Exporting build")?;
    let download = client
        .download::<BuildExport>(&path, &Empty {}, &Empty {})
        .await?;
    receive(download, target, Steps::One, context).await
}

/// Where an export is written.
enum Target {
    /// A file that gets its name when it is whole.
    File(Half, File, PathBuf),
    /// Standard output.
    Out,
}

impl Target {
    fn open(file: Option<&Path>, context: &Context<'_, '_>) -> Result<Self, CliError> {
        if let Some(file) = named(file) {
            let file = context.environment.directory.join(file);
            let half = Half::beside(&file)?;
            let writer = half.writer()?;
            return Ok(Self::File(half, writer, file));
        }
        if context.environment.stdout_terminal {
            return Err(CliError::usage(
                "an export is no text: it is not written to a terminal",
                "name a file with -f FILE, or redirect it: `> FILE`",
            ));
        }
        if context.globals.json {
            return Err(CliError::usage(
                "standard output cannot be the export and JSON at once",
                "name a file with -f FILE",
            ));
        }
        Ok(Self::Out)
    }

    fn write(&mut self, piece: &[u8], context: &mut Context<'_, '_>) -> Result<(), CliError> {
        match self {
            Self::File(_, file, path) => {
                let doing = || format!("write {}", path.display());
                file.write_all(piece)
                    .map_err(|source| CliError::io(doing(), source))
            }
            Self::Out => context.out.raw(piece),
        }
    }
}

/// A name that is not the sign for standard input and output.
fn named(file: Option<&Path>) -> Option<&Path> {
    file.filter(|file| *file != Path::new("-"))
}

/// Whether each thing in an export is a step of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    One,
    Each,
}

/// Writes an export as it comes, and makes sure that it is whole.
async fn receive(
    mut download: Download,
    mut target: Target,
    steps: Steps,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let mut watch = Watch::default();
    let mut seen = BTreeSet::new();
    let mut about = None;
    let mut size = 0;
    while let Some(piece) = download.next().await? {
        size += piece.len() as u64;
        watch.push(&piece);
        target.write(&piece, context)?;
        while let Some(passed) = watch.next() {
            match passed {
                Passed::Head(found) => about = Some(*found),
                Passed::Entry(name) => {
                    if let Some(step) = step_of(&name).filter(|_| steps == Steps::Each)
                        && seen.insert(step.clone())
                    {
                        context.out.done("OK")?;
                        context.out.begin(&step)?;
                    }
                }
            }
        }
        context.out.progress(&bytes(size))?;
    }
    let Some(about) = about.filter(|_| watch.whole()) else {
        return Err(download.cut_off(None).into());
    };
    if steps == Steps::Each {
        context.out.done("OK")?;
        context.out.begin("Packaging export")?;
    }
    let place = match target {
        Target::File(half, _, file) => {
            half.finish(&file)?;
            Some(file)
        }
        Target::Out => None,
    };
    context.out.done(&format!("OK ({})", bytes(size)))?;
    tell_exported(&about, steps, place.as_deref(), size, context)
}

/// The step that an entry belongs to.
fn step_of(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('/')?;
    let thing = rest.split('/').next().unwrap_or_default();
    match kind {
        "env" => Some("Exporting env".to_owned()),
        "volumes" => Some(format!("Exporting volume {thing}")),
        BUILDS => Some(format!("Exporting build {thing}")),
        _ => None,
    }
}

fn tell_exported(
    about: &About,
    steps: Steps,
    place: Option<&Path>,
    size: u64,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    for left in &about.left_out {
        context
            .out
            .note(&format!("{} stays behind: {}", left.id, left.why))?;
    }
    if steps == Steps::Each && !about.sealed() {
        context
            .out
            .warn("the env is not in it: set it again with `hoist env set` after the import")?;
    }
    let Some(place) = place else {
        return Ok(());
    };
    let place = place.display().to_string();
    if !context.out.json() {
        return context.out.label("Export", &place);
    }
    let ids = |named: &[hoist_api::export::Named]| {
        let ids = named.iter().map(|named| named.id.clone());
        ids.collect::<Vec<_>>()
    };
    context.out.print_json(&json!({
        "file": place,
        "bytes": size,
        "app": about.app,
        "builds": ids(&about.builds),
        "releases": ids(&about.releases),
        "env": about.sealed(),
        "volumes": about.volumes,
    }))
}

/// Opens what is to be imported.
fn open(
    args: &FromFileArgs,
    head: &'static str,
    context: &Context<'_, '_>,
) -> Result<Export, CliError> {
    let file = named(args.file.as_deref());
    let file = file.map(|file| context.environment.directory.join(file));
    let environment = context.environment;
    if file.is_none() && (environment.stdin_terminal || !environment.reads_input) {
        return Err(CliError::usage(
            "there is nothing to import: standard input is a terminal",
            "name a file with -f FILE",
        ));
    }
    archive::open(file.as_deref(), head)
}

/// Streams an export, after its passphrase.
fn sending(
    mut read: Box<dyn io::Read + Send>,
    passphrase: Option<&Passphrase>,
) -> Result<crate::package::Upload, CliError> {
    let front = passphrase.map(passphrase_entry).transpose()?;
    Ok(send(move |writer| {
        writer.write_all(&front.unwrap_or_default())?;
        io::copy(&mut read, writer)?;
        writer.flush()
    }))
}

pub(super) async fn import_build(
    args: ImportBuild,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let app = context.app(&args.app)?;
    let export = open(&args.from, BUILD_HEAD, context)?;
    let client = context.client()?;
    context.out.begin("Importing build")?;
    let upload = sending(export.read, None)?;
    let mut flow = Flow {
        context,
        client: &client,
        app,
        timed: false,
    };
    let path = flow.path();
    let importing = client.upload::<BuildImport>(&path, &Empty {}, upload.pieces);
    let build = flow.shown(importing, &upload.sent, export.bytes).await?;
    let (app, context) = (flow.app, flow.context);
    let release = build.release.clone().unwrap_or_default();
    context.out.done(&format!("OK, {release}"))?;
    if context.out.json() {
        return context.out.print_json(&build);
    }
    if args.id {
        return context.out.line(&release);
    }
    context.out.label("Build", &build.id)?;
    context.out.label("Release", &release)?;
    let text = format!("`hoist promote {release} -a {app}` makes it live");
    context.out.note(&text)
}

pub(super) async fn import_app(
    args: ImportApp,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let export = open(&args.from, APP_HEAD, context)?;
    let name = args.name.or(args.app.app);
    let name = name.unwrap_or_else(|| export.about.app.clone());
    let query = AppImportQuery {
        // So that a name that is taken is refused before anything is sent.
        app: Some(name.clone()),
        without_env: args.env.without_env,
    };
    let given = match export.about.sealed() && !args.env.without_env {
        false => None,
        true => {
            let file = args.env.passphrase_file.as_deref();
            match passphrase(file, Asking::Never, PURPOSE, context)? {
                None if context.environment.stderr_terminal => {
                    ask("Passphrase of the env: ", context)?
                }
                given => given,
            }
        }
    };
    let client = context.client()?;
    context.out.begin(&format!("Creating app {name}"))?;
    let upload = sending(export.read, given.as_ref())?;
    let mut flow = Flow {
        context,
        client: &client,
        app: name,
        timed: false,
    };
    let importing = client.upload::<AppImport>(&Empty {}, &query, upload.pieces);
    let imported = flow.shown(importing, &upload.sent, export.bytes).await?;
    flow.context.out.done("OK")?;
    tell_imported(&imported, flow.context)?;
    if !args.promote {
        return leave(&imported, flow.context);
    }
    let release = match &imported.release {
        Some(release) => release.clone(),
        None => flow.next_release().await?,
    };
    let promotion = flow.promote(&release, &args.how, &Subject::Release).await?;
    live(&promotion)
}

fn tell_imported(imported: &AppImported, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    for build in &imported.builds {
        context
            .out
            .begin(&format!("Importing build {}", build.was))?;
        context.out.done(&taken_as(build))?;
    }
    if imported.env {
        context.out.begin("Importing env")?;
        context.out.done("OK")?;
    }
    for volume in &imported.volumes {
        context.out.begin(&format!("Importing volume {volume}"))?;
        context.out.done("OK")?;
    }
    for release in &imported.releases {
        context
            .out
            .begin(&format!("Importing release {}", release.was))?;
        context.out.done(&taken_as(release))?;
    }
    if !imported.env {
        let text = format!(
            "the env stayed behind: set it with `hoist env set -a {}` before it is promoted",
            imported.app
        );
        context.out.warn(&text)?;
    }
    if context.out.json() {
        return context.out.print_json(imported);
    }
    match &imported.release {
        Some(release) => context.out.label("Release", release),
        None => Ok(()),
    }
}

/// `OK`, and the id here where it is another one.
fn taken_as(id: &ImportedId) -> String {
    match id.id == id.was {
        true => "OK".to_owned(),
        false => format!("OK, {}", id.id),
    }
}

fn leave(imported: &AppImported, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let app = &imported.app;
    let text = match &imported.release {
        Some(release) => {
            format!("nothing of it runs yet: `hoist promote {release} -a {app}` makes it live")
        }
        None => format!("nothing of it was active: `hoist releases -a {app}`"),
    };
    context.out.note(&text)
}
