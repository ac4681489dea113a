//! An upload, unpacked, with its manifest read: everything about it that can be refused is refused here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hoist_core::id::BuildId;
use hoist_core::manifest::{self, Dialect, MANIFEST_BYTES_MAX, Manifest, ManifestError};

use super::unpack::unpack;
use crate::error::RackError;
use crate::layout::Layout;
use crate::secrets::Env;

/// The tree of a build that has not run yet.
pub(crate) struct Source {
    scratch: PathBuf,
    file: String,
    text: String,
    /// What the manifest says with the variables of that moment; each release reads it again with its own.
    pub manifest: Manifest,
    /// What it says that is not acted on.
    pub warnings: Vec<String>,
}

impl Source {
    /// Unpacks `archive` and deletes it; reads the manifest with the variables of `env`. What fails leaves nothing.
    pub(crate) async fn open(
        layout: &Layout,
        build: &BuildId,
        archive: &Path,
        manifest: Option<String>,
        env: Env,
    ) -> Result<Self, RackError> {
        let scratch = layout.scratch().join(build.as_str());
        let archive = archive.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = Self::unpack(&scratch, &archive, manifest, &env);
            let _ = fs::remove_file(&archive);
            if opened.is_err() {
                let _ = fs::remove_dir_all(&scratch);
            }
            opened
        });
        opened.await.map_err(|_| RackError::Stopping)?
    }

    fn unpack(
        scratch: &Path,
        archive: &Path,
        wanted: Option<String>,
        env: &Env,
    ) -> Result<Self, RackError> {
        let tree = scratch.join("tree");
        fs::create_dir_all(&tree).map_err(RackError::io("make a directory for the source"))?;
        let file = File::open(archive).map_err(RackError::io("open the upload"))?;
        unpack(file, &tree)?;
        let file = match wanted {
            Some(name) => name,
            None => choose(&tree)?.file_name().to_owned(),
        };
        let text = read_manifest(&tree, &file)?;
        let (manifest, warnings) = manifest::read_with(Dialect::of_file(&file), &file, &text, env)?;
        Ok(Self {
            scratch: scratch.to_owned(),
            file,
            text,
            manifest,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        })
    }

    /// The source directory.
    pub(crate) fn tree(&self) -> PathBuf {
        self.scratch.join("tree")
    }

    /// The build's own scratch directory.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The manifest's file name.
    pub(crate) fn manifest_file(&self) -> &str {
        &self.file
    }

    /// The manifest's file name and text, for the build's record.
    pub(crate) fn manifest_record(&self) -> (String, String) {
        (self.file.clone(), self.text.clone())
    }

    /// Deletes what is left of it.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn choose(tree: &Path) -> Result<Dialect, ManifestError> {
    let present: Vec<&str> = Dialect::ALL
        .iter()
        .map(|dialect| dialect.file_name())
        .filter(|name| tree.join(name).is_file())
        .collect();
    manifest::choose(present)
}

/// Reads the manifest, which must be a file of the source and not a link.
fn read_manifest(tree: &Path, file: &str) -> Result<String, RackError> {
    let plain = Path::new(file)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
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
