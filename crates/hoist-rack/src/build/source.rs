//! An upload, unpacked, with its manifest read: everything about it that can be refused is refused here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hoist_core::detect::{Detected, Runtime};
use hoist_core::id::BuildId;
use hoist_core::manifest::{self, Dialect, Manifest};

use super::contents::Contents;
use super::listing::{Digest, Listing};
use super::reading::{self, Reading};
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
    reading: Reading,
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
        let reading = reading::read(&tree, wanted, env)?;
        let (contents, inputs) = match origin {
            Origin::Archive(_) => (None, None),
            Origin::Listed(contents, listing) => (
                Some(contents.clone()),
                Some(inputs(&listing.id, &reading.file, &reading.manifest)),
            ),
        };
        Ok(Self {
            scratch: scratch.to_owned(),
            contents,
            inputs,
            reading,
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

    /// What the manifest says with the variables of that moment; each release reads it again with its own.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.reading.manifest
    }

    /// What the source says that is not acted on, and what may differ from build to build.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.reading.warnings.clone()
    }

    /// What the source is written in, where that says how to build it.
    pub(super) fn detected(&self) -> Option<&Detected> {
        self.reading.detected.as_ref()
    }

    /// What its language brings to processes.
    pub(super) fn runtime(&self) -> Runtime {
        let plan = self.detected().map(|detected| &detected.plan);
        plan.map(|plan| plan.runtime.clone()).unwrap_or_default()
    }

    /// Where the manifest is from, for the log.
    pub(super) fn words(&self) -> String {
        let Reading { file, text, .. } = &self.reading;
        match self.reading.made {
            true => format!("no manifest: going by `{}`", text.trim_end()),
            false => format!("reading {file}"),
        }
    }

    /// The manifest's file name and text, for the build's record.
    pub(crate) fn manifest_record(&self) -> (String, String) {
        (self.reading.file.clone(), self.reading.text.clone())
    }

    /// The text of the `app.json` that belongs to it.
    pub(super) fn app_json(&self) -> Option<String> {
        self.reading.app_json.clone()
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

/// The manifest of a list that would be read; without any, the `Procfile` that a language may make in its place.
pub(crate) fn chosen(listing: &Listing, wanted: Option<&str>) -> String {
    let present = Dialect::ALL.iter().map(|dialect| dialect.file_name());
    let first = manifest::choose(present.filter(|name| listing.has_file(name)));
    let first = first.unwrap_or(Dialect::Procfile).file_name();
    wanted.unwrap_or(first).to_owned()
}
