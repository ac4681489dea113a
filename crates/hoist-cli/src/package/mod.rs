//! What belongs to a directory's source: what the ignore files leave, in the order of its paths.
//!
//! Steps of their own, so that the user sees which one takes long: [`Source::scan`] finds what belongs, [`Listing::of`]
//! digests its files, and [`Parts::send`] streams those that the rack lacks without ever holding them whole. What cannot be
//! listed goes as one archive: [`Source::send`].

mod dockerignore;
mod git;
mod listing;
mod send;

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use tar::{Builder, EntryType, Header};

use dockerignore::DockerIgnore;

pub(crate) use git::commit_of;
pub(crate) use listing::{Listing, Parts};
pub(crate) use send::{Upload, send};

/// Files that tell how to build and run the source: they go along even when an ignore file names them.
pub(crate) const MANIFESTS: [&str; 4] = ["hoist.yml", "convox.yml", "Procfile", "app.json"];

/// Why a directory cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("nothing in {} is left to upload: it is empty, or its ignore files name everything", .0.display())]
    Empty(PathBuf),
    #[error("{} is not in {}", file.display(), directory.display())]
    NoManifest { file: PathBuf, directory: PathBuf },
    #[error("cannot read the source")]
    Walk(#[source] ignore::Error),
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot understand {}", path.display())]
    IgnoreFile {
        path: PathBuf,
        #[source]
        source: ignore::Error,
    },
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    #[error("reading the source was interrupted")]
    Interrupted,
}

/// What belongs to the source of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    root: PathBuf,
    /// Relative paths, sorted.
    paths: Vec<PathBuf>,
    /// Sockets, pipes and devices, which cannot be sent.
    pub(crate) left_out: Vec<PathBuf>,
}

impl Source {
    /// Finds what belongs. `manifest` and the known manifests always do; nothing below `not_below` does.
    pub(crate) fn scan(
        root: &Path,
        manifest: Option<&str>,
        not_below: Option<&Path>,
    ) -> Result<Self, PackageError> {
        let root = root.canonicalize().map_err(|source| PackageError::Read {
            path: root.to_owned(),
            source,
        })?;
        if !root.is_dir() {
            return Err(PackageError::NotADirectory(root));
        }
        if let Some(file) = manifest.filter(|file| !root.join(file).is_file()) {
            return Err(PackageError::NoManifest {
                file: file.into(),
                directory: root,
            });
        }
        let not_below = not_below.and_then(|path| path.canonicalize().ok());
        let mut source = Self {
            root: root.clone(),
            paths: Vec::new(),
            left_out: Vec::new(),
        };
        let docker = DockerIgnore::read(&root)?;
        for entry in walk(&root, docker.clone(), not_below) {
            let entry = entry.map_err(PackageError::Walk)?;
            let Ok(path) = entry.path().strip_prefix(&root) else {
                continue;
            };
            let Some(kind) = entry.file_type().filter(|_| entry.depth() > 0) else {
                continue;
            };
            let ignored = docker
                .as_ref()
                .is_some_and(|docker| docker.ignores(path, kind.is_dir()));
            if !ignored {
                source.take(path, kind);
            }
        }
        let always = MANIFESTS.iter().copied().chain(manifest).map(PathBuf::from);
        source
            .paths
            .extend(always.filter(|path| root.join(path).is_file()));
        source.paths.sort();
        source.paths.dedup();
        if source.paths.is_empty() {
            Err(PackageError::Empty(root))
        } else {
            Ok(source)
        }
    }

    fn take(&mut self, path: &Path, kind: FileType) {
        let sendable = kind.is_file() || kind.is_dir() || kind.is_symlink();
        let list = if sendable {
            &mut self.paths
        } else {
            &mut self.left_out
        };
        list.push(path.to_owned());
    }

    /// The name of the manifest that the rack will read, as far as one can tell from here.
    pub(crate) fn manifest(&self) -> Option<&'static str> {
        MANIFESTS
            .into_iter()
            .find(|name| self.paths.iter().any(|path| path == Path::new(name)))
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the whole archive.
    pub(crate) fn write(&self, writer: impl Write) -> Result<(), PackageError> {
        let mut archive = Builder::new(writer);
        for path in &self.paths {
            self.append(&mut archive, path)?;
        }
        let finished = archive.into_inner().and_then(|mut writer| writer.flush());
        finished.map_err(|source| PackageError::Read {
            path: self.root.clone(),
            source,
        })
    }

    fn append(&self, archive: &mut Builder<impl Write>, path: &Path) -> Result<(), PackageError> {
        let full = self.root.join(path);
        let read = |source| PackageError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::symlink_metadata(&full).map_err(read)?;
        let mut header = header(&metadata);
        if metadata.is_symlink() {
            let target = fs::read_link(&full).map_err(read)?;
            header.set_entry_type(EntryType::Symlink);
            return archive.append_link(&mut header, path, target).map_err(read);
        }
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            return archive
                .append_data(&mut header, path, io::empty())
                .map_err(read);
        }
        let file = File::open(&full).map_err(read)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.len());
        let mut exactly = Exactly {
            file,
            left: metadata.len(),
        };
        let appended = archive.append_data(&mut header, path, &mut exactly);
        appended.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => PackageError::Changed(path.to_owned()),
            _ => read(source),
        })
    }
}

/// All of the tree but what `.gitignore` names, `.git`, and what lies below `not_below`.
fn walk(root: &Path, docker: Option<DockerIgnore>, not_below: Option<PathBuf>) -> ignore::Walk {
    let in_repository = root
        .ancestors()
        .any(|directory| directory.join(".git").exists());
    let whole = root.to_owned();
    WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_exclude(in_repository)
        .parents(in_repository)
        .require_git(in_repository)
        .follow_links(false)
        .filter_entry(move |entry| {
            let below = not_below
                .as_deref()
                .is_some_and(|path| entry.path() == path);
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            let path = entry.path().strip_prefix(&whole).unwrap_or(entry.path());
            let prunable =
                |docker: &DockerIgnore| is_dir && entry.depth() > 0 && docker.prunes(path);
            !below && entry.file_name() != ".git" && !docker.as_ref().is_some_and(prunable)
        })
        .build()
}

/// What is the same on every machine: no owner, and modes as git knows them.
fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    let executable = metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0;
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// A file as long as its header says, whatever happens to it meanwhile.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
