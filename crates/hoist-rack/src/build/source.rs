//! An upload, unpacked, with its manifest read: everything about it that can be refused is refused here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hoist_core::id::BuildId;
use hoist_core::manifest::{self, Dialect, MANIFEST_BYTES_MAX, Manifest, ManifestError};

use super::contents::Contents;
use super::listing::{Digest, Listing};
use super::unpack::unpack;
use crate::error::RackError;
use crate::layout::Layout;
use crate::secrets::Env;

/// How a source came.
pub(crate) enum Origin {
    /// As an archive, which is deleted.
    Archive(PathBuf),
    /// As a list, and the contents that the rack did not have.
    Listed(Contents, Listing),
}

/// The tree of a build that has not run yet.
pub(crate) struct Source {
    scratch: PathBuf,
    /// Where its contents came from, to be collected afterwards.
    contents: Option<Contents>,
    /// A digest of all that the build is made from; none when that is not known.
    pub inputs: Option<String>,
    file: String,
    text: String,
    /// What the manifest says with the variables of that moment; each release reads it again with its own.
    pub manifest: Manifest,
    /// What it says that is not acted on.
    pub warnings: Vec<String>,
}

impl Source {
    /// Writes the tree and reads the manifest with the variables of `env`. What fails leaves nothing.
    pub(crate) async fn open(
        layout: &Layout,
        build: &BuildId,
        origin: Origin,
        manifest: Option<String>,
        env: Env,
    ) -> Result<Self, RackError> {
        let scratch = layout.scratch().join(build.as_str());
        let opened = tokio::task::spawn_blocking(move || {
            let opened = Self::write(&scratch, &origin, manifest, &env);
            if let Origin::Archive(archive) = &origin {
                let _ = fs::remove_file(archive);
            }
            if opened.is_err() {
                let _ = fs::remove_dir_all(&scratch);
                if let Origin::Listed(contents, _) = &origin {
                    contents.collect();
                }
            }
            opened
        });
        opened.await.map_err(|_| RackError::Stopping)?
    }

    fn write(
        scratch: &Path,
        origin: &Origin,
        wanted: Option<String>,
        env: &Env,
    ) -> Result<Self, RackError> {
        let tree = scratch.join("tree");
        fs::create_dir_all(&tree).map_err(RackError::io("make a directory for the source"))?;
        match origin {
            Origin::Archive(archive) => {
                let file = File::open(archive).map_err(RackError::io("open the upload"))?;
                unpack(file, &tree)?;
            }
            Origin::Listed(contents, listing) => contents.write_tree(listing, &tree)?,
        }
        let file = match wanted {
            Some(name) => name,
            None => choose(&tree)?.file_name().to_owned(),
        };
        let text = read_manifest(&tree, &file)?;
        let (manifest, warnings) = manifest::read_with(Dialect::of_file(&file), &file, &text, env)?;
        let (contents, inputs) = match origin {
            Origin::Archive(_) => (None, None),
            Origin::Listed(contents, listing) => (
                Some(contents.clone()),
                Some(inputs(&listing.id, &file, &manifest)),
            ),
        };
        Ok(Self {
            scratch: scratch.to_owned(),
            contents,
            inputs,
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
        if let Some(contents) = &self.contents {
            contents.collect();
        }
    }
}

/// Digests all that a build is made from: the source, which file of it is the manifest, and what that says of the build
/// with the variables of the moment. The commit is not of it: one that changed nothing here is no reason to build.
pub(crate) fn inputs(source: &Digest, file: &str, manifest: &Manifest) -> String {
    let text = format!("{source}\n{file:?}\n{:?}", manifest.build);
    Digest::of(text.as_bytes()).to_string()
}

/// The manifest of a list that would be read.
pub(crate) fn chosen(listing: &Listing, wanted: Option<&str>) -> Option<String> {
    let present = Dialect::ALL.iter().map(|dialect| dialect.file_name());
    let first = || manifest::choose(present.filter(|name| listing.has_file(name))).ok();
    wanted
        .map(str::to_owned)
        .or_else(|| first().map(|dialect| dialect.file_name().to_owned()))
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
