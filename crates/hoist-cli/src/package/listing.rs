//! A source by the contents of its files: what is listed before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use hoist_api::types::SourceEntry;
use sha2::{Digest, Sha256};

use super::{PackageError, Source};

/// Bytes read at once.
const PIECE_BYTES: usize = 256 << 10;

/// What belongs to a source, and where its contents are.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// As the rack takes them.
    pub(crate) entries: Vec<SourceEntry>,
    /// A file of each content by its SHA-256, relative to the root, and its size.
    pub(super) contents: BTreeMap<String, (PathBuf, u64)>,
    root: PathBuf,
}

/// Contents of a source that are sent, in the order of their digests.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Digest, path below the root, and size.
    pub(crate) files: Vec<(String, PathBuf, u64)>,
    /// Where they are.
    pub(crate) root: PathBuf,
}

impl Listing {
    /// Lists a source; none when a name in it is no text, so that it must go as an archive. Reads every file, on all
    /// cores: digests of an earlier run would be wrong about files whose times were set back.
    pub(crate) fn of(source: &Source) -> Result<Option<Self>, PackageError> {
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let worked: Result<Vec<_>, PackageError> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| list_some(source, &next)))
                .collect();
            let ended = workers.into_iter().map(|worker| worker.join());
            ended
                .map(|ended| ended.unwrap_or(Err(PackageError::Interrupted)))
                .collect()
        });
        let mut listed: Vec<_> = worked?.into_iter().flatten().collect();
        listed.sort_by_key(|(index, _)| *index);
        let mut listing = Self {
            entries: Vec::with_capacity(listed.len()),
            contents: BTreeMap::new(),
            root: source.root().to_owned(),
        };
        for (index, entry) in listed {
            let Some(entry) = entry else {
                return Ok(None);
            };
            if let SourceEntry::File { size, sha256, .. } = &entry {
                let place = || (source.paths[index].clone(), *size);
                listing.contents.entry(sha256.clone()).or_insert_with(place);
            }
            listing.entries.push(entry);
        }
        Ok(Some(listing))
    }

    /// How many contents it has.
    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    /// The contents that the rack lacks.
    pub(crate) fn parts(&self, missing: &[String]) -> Parts {
        let missing: BTreeSet<&String> = missing.iter().collect();
        let wanted = self.contents.iter();
        Parts {
            files: wanted
                .filter(|(digest, _)| missing.contains(digest))
                .map(|(digest, (path, size))| (digest.clone(), path.clone(), *size))
                .collect(),
            root: self.root.clone(),
        }
    }
}

impl Parts {
    /// How many bytes they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, _, size)| size).sum()
    }
}

type Listed = Vec<(usize, Option<SourceEntry>)>;

/// Lists paths until none is left.
fn list_some(source: &Source, next: &AtomicUsize) -> Result<Listed, PackageError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut listed = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = source.paths.get(index) else {
            return Ok(listed);
        };
        listed.push((index, list(source.root(), path, &mut piece)?));
    }
}

fn list(root: &Path, path: &Path, piece: &mut [u8]) -> Result<Option<SourceEntry>, PackageError> {
    let full = root.join(path);
    let read = |source| PackageError::Read {
        path: path.to_owned(),
        source,
    };
    let Some(name) = path.to_str().map(str::to_owned) else {
        return Ok(None);
    };
    let metadata = fs::symlink_metadata(&full).map_err(read)?;
    if metadata.is_symlink() {
        let target = fs::read_link(&full).map_err(read)?;
        let target = target.to_str().map(str::to_owned);
        return Ok(target.map(|target| SourceEntry::Link { path: name, target }));
    }
    if metadata.is_dir() {
        return Ok(Some(SourceEntry::Directory { path: name }));
    }
    let file = File::open(&full).map_err(read)?;
    let (sha256, size) = digest(file, piece).map_err(read)?;
    Ok(Some(SourceEntry::File {
        path: name,
        size,
        sha256,
        executable: metadata.permissions().mode() & 0o100 != 0,
    }))
}

fn digest(mut file: File, piece: &mut [u8]) -> io::Result<(String, u64)> {
    let mut digest = Sha256::new();
    let mut size = 0;
    loop {
        match file.read(piece) {
            Ok(0) => return Ok((hex(&digest.finalize()), size)),
            Ok(count) => {
                digest.update(&piece[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
