//! What a source tree says of itself: its manifest with the `app.json` beside it, or what its language makes of it.

use std::fs;
use std::path::{Component, Path};

use hoist_core::detect::{self, BELOW, Choice, Detected, Language, TEXT_BYTES_MAX, TEXTS, Top};
use hoist_core::manifest::{
    self, APP_JSON, CommandLine, Dialect, MANIFEST_BYTES_MAX, Manifest, ManifestError,
};

use crate::error::RackError;
use crate::secrets::Env;

/// All that was read of a tree.
pub(super) struct Reading {
    /// The manifest's file name.
    pub(super) file: String,
    /// Its text: that of the file, or what was made in its place.
    pub(super) text: String,
    /// The text of `app.json`, where it counts.
    pub(super) app_json: Option<String>,
    /// What they say together.
    pub(super) manifest: Manifest,
    /// What they say that is not acted on.
    pub(super) warnings: Vec<String>,
    /// What the source is written in, where that says how to build it.
    pub(super) detected: Option<Detected>,
    /// There is no manifest: `text` was made.
    pub(super) made: bool,
}

/// Reads a tree with the variables of `env`; `wanted` is another manifest than the first of the known names.
pub(super) fn read(tree: &Path, wanted: Option<String>, env: &Env) -> Result<Reading, RackError> {
    let present = Dialect::ALL.iter().map(|dialect| dialect.file_name());
    let present = present.filter(|name| tree.join(name).is_file());
    let file = match (wanted, manifest::choose(present)) {
        (Some(name), _) => name,
        (None, Ok(dialect)) => dialect.file_name().to_owned(),
        (None, Err(missing)) => return without_manifest(tree, env, missing),
    };
    let text = read_file(tree, &file)?;
    let (manifest, warnings) = manifest::read_with(Dialect::of_file(&file), &file, &text, env)?;
    let detected = match (&manifest.build.command, manifest.build.detect) {
        (Some(_), _) => None,
        (None, choice) => detect::detect(&top(tree)?, choice)?
            // A page at the top is served by what the manifest says, if by anything.
            .filter(|found| choice != Choice::Look || found.language != Language::Site),
    };
    let reading = Reading {
        app_json: None,
        manifest,
        warnings: warnings.iter().map(ToString::to_string).collect(),
        detected,
        made: false,
        file,
        text,
    };
    with_app_json(tree, reading)
}

/// A language that says what serves needs no manifest.
fn without_manifest(tree: &Path, env: &Env, missing: ManifestError) -> Result<Reading, RackError> {
    let Some(detected) = detect::detect(&top(tree)?, Choice::Look)? else {
        return Err(missing.into());
    };
    let Some(CommandLine::Shell(web)) = &detected.plan.web else {
        return Err(ManifestError::NothingToRun {
            language: detected.language.name(),
            marker: detected.marker,
        }
        .into());
    };
    let (file, text) = (Dialect::Procfile.file_name(), format!("web: {web}\n"));
    let (manifest, _) = manifest::read_with(Dialect::Procfile, file, &text, env)?;
    let reading = Reading {
        file: file.to_owned(),
        text,
        app_json: None,
        manifest,
        warnings: Vec::new(),
        detected: Some(detected),
        made: true,
    };
    with_app_json(tree, reading)
}

/// `app.json` belongs to a `Procfile`; other manifests say all that it could.
fn with_app_json(tree: &Path, mut reading: Reading) -> Result<Reading, RackError> {
    if !tree.join(APP_JSON).is_file() {
        return Ok(reading);
    }
    if Dialect::of_file(&reading.file) != Dialect::Procfile {
        let ignored = format!("{APP_JSON} is ignored: it is read beside a Procfile only");
        reading.warnings.push(ignored);
        return Ok(reading);
    }
    let text = read_file(tree, APP_JSON)?;
    let warnings = manifest::read_app_json(&text, &mut reading.manifest)?;
    reading
        .warnings
        .extend(warnings.iter().map(ToString::to_string));
    reading.app_json = Some(text);
    Ok(reading)
}

/// Lists the top of a tree, and reads what tells languages apart.
fn top(tree: &Path) -> Result<Top, RackError> {
    let entries = fs::read_dir(tree).map_err(RackError::io("list the source"))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let below = BELOW.iter().filter(|name| tree.join(name).is_file());
    let mut top = Top::new(names.chain(below.map(|name| (*name).to_owned())));
    for name in TEXTS {
        let path = tree.join(name);
        // A link could lead anywhere.
        let plain = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_file() && meta.len() <= TEXT_BYTES_MAX);
        if plain && let Ok(text) = fs::read_to_string(&path) {
            top.add_text(name, text);
        }
    }
    Ok(top)
}

/// Reads a small file, which must be a file of the source and not a link out of it.
fn read_file(tree: &Path, file: &str) -> Result<String, RackError> {
    let plain = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let path = tree.join(file);
    let inside = plain
        && path
            .canonicalize()
            .is_ok_and(|real| tree.canonicalize().is_ok_and(|tree| real.starts_with(tree)));
    if !inside {
        return Err(RackError::Invalid(format!(
            "the source has no file `{file}`"
        )));
    }
    let bytes = fs::metadata(&path)
        .map_err(RackError::io(format!("read {file}")))?
        .len();
    if bytes > MANIFEST_BYTES_MAX as u64 {
        return Err(RackError::Invalid(format!(
            "{file} is larger than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    let bytes = fs::read(&path).map_err(RackError::io(format!("read {file}")))?;
    String::from_utf8(bytes).map_err(|_| RackError::Invalid(format!("{file} is not UTF-8 text")))
}
