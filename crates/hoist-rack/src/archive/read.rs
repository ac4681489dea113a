//! Reads an archive: what it is and whether it is whole, and then its trees, which it cannot place anywhere else.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use hoist_api::export::{END, HEAD_BYTES_MAX};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::write::hex;
use super::{AnyHead, ArchiveError, END_BYTES, End};

/// What an archive must begin with.
pub(crate) struct Reading {
    /// The name of its first entry.
    pub(crate) head: &'static str,
    /// The newest form that can be read.
    pub(crate) format: u32,
}

/// Reads a whole file once: what it is, and whether it is as it was written.
pub(crate) fn check<H: DeserializeOwned>(path: &Path, wanted: &Reading) -> Result<H, ArchiveError> {
    let reading = || ArchiveError::io(format!("read {}", path.display()));
    let mut file = File::open(path).map_err(reading())?;
    let head = read_head(&file, wanted)?;
    let length = file.metadata().map_err(reading())?.len();
    let body = length
        .checked_sub(END_BYTES)
        .ok_or(ArchiveError::CutShort)?;
    file.seek(SeekFrom::Start(body)).map_err(reading())?;
    let end = read_end(&file).ok_or(ArchiveError::CutShort)?;
    file.seek(SeekFrom::Start(0)).map_err(reading())?;
    let mut digest = Digesting(Sha256::new());
    io::copy(&mut file.take(body), &mut digest).map_err(reading())?;
    if hex(&digest.0.finalize()) == end.sha256 {
        Ok(head)
    } else {
        let why = "its SHA-256 is not the one it ends with";
        Err(ArchiveError::Damaged(why.to_owned()))
    }
}

/// The first entry, which says what the file is even when the rest is of a newer form.
fn read_head<H: DeserializeOwned>(file: &File, wanted: &Reading) -> Result<H, ArchiveError> {
    let not = || ArchiveError::Another(None);
    let mut archive = Archive::new(BufReader::new(file));
    let mut entries = archive.entries().map_err(|_| not())?;
    let entry = entries.next().and_then(Result::ok).ok_or_else(not)?;
    let name = entry.path_bytes();
    if *name != *wanted.head.as_bytes() {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(ArchiveError::Another(Some(name)));
    }
    drop(name);
    let mut text = Vec::new();
    let read = entry.take(HEAD_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|_| ArchiveError::CutShort)?;
    let unreadable = |_| ArchiveError::Damaged("what it says of itself cannot be read".to_owned());
    let any: AnyHead = serde_json::from_slice(&text).map_err(unreadable)?;
    if any.format > wanted.format {
        return Err(ArchiveError::Newer(any.version));
    }
    serde_json::from_slice(&text).map_err(unreadable)
}

fn read_end(file: &File) -> Option<End> {
    let mut archive = Archive::new(file);
    let entry = archive.entries().ok()?.next()?.ok()?;
    if *entry.path_bytes() != *END.as_bytes() {
        return None;
    }
    serde_json::from_reader(entry).ok()
}

struct Digesting(Sha256);

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the entries between the first and the last one to `take`, by name; it answers where the entry belongs, takes it
/// itself, or says that there is no such entry in an archive of this kind.
pub(crate) fn rest_of(
    path: &Path,
    wanted: &Reading,
    mut take: impl FnMut(&Path, &mut tar::Entry<'_, BufReader<File>>) -> Result<bool, ArchiveError>,
) -> Result<(), ArchiveError> {
    let reading = || ArchiveError::io(format!("read {}", path.display()));
    let file = File::open(path).map_err(reading())?;
    let mut archive = Archive::new(BufReader::new(file));
    let failed = |error| ArchiveError::of_entry(format!("read {}", path.display()), error);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.into_owned();
        if name == Path::new(wanted.head) || name == Path::new(END) {
            continue;
        }
        if !take(&name, &mut entry)? {
            let why = format!("it holds {}, which none of its kind does", name.display());
            return Err(ArchiveError::Damaged(why));
        }
    }
    Ok(())
}

/// Trees on their way into a directory that nobody else writes to.
pub(crate) struct Unpacker {
    links: BTreeSet<PathBuf>,
    /// Directories get their modes last: one may forbid writing into it.
    modes: Vec<(PathBuf, u32)>,
    /// Bits of a mode that come along.
    mask: u32,
}

impl Unpacker {
    pub(crate) fn new(mask: u32) -> Self {
        Self {
            links: BTreeSet::new(),
            modes: Vec::new(),
            mask,
        }
    }

    /// The first parts of a name, and what follows them; none for a name with fewer.
    pub(crate) fn split(name: &Path, count: usize) -> Option<(Vec<&str>, &Path)> {
        let mut components = name.components();
        let mut first = Vec::with_capacity(count);
        for _ in 0..count {
            match components.next()? {
                Component::Normal(part) => first.push(part.to_str()?),
                _ => return None,
            }
        }
        Some((first, components.as_path()))
    }

    /// Where an entry below `base` belongs; none below a link. Links lead where they want, since only processes in their
    /// own root follow them; nothing is written through one.
    pub(crate) fn place(&self, base: PathBuf, rest: &Path) -> Option<PathBuf> {
        let mut path = base;
        for part in rest.components() {
            let Component::Normal(part) = part else {
                return None;
            };
            if self.links.contains(&path) {
                return None;
            }
            path.push(part);
        }
        Some(path)
    }

    /// Writes an entry to its place.
    pub(crate) fn write(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        target: &Path,
    ) -> io::Result<()> {
        if let Some(parent) = target.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755).create(parent)?;
        }
        let mode = entry.header().mode()? & self.mask;
        match entry.header().entry_type() {
            EntryType::Directory => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(target)?;
                self.modes.push((target.to_owned(), mode));
                Ok(())
            }
            EntryType::Symlink => {
                let to = entry.link_name()?.unwrap_or_default().into_owned();
                symlink(to, target)?;
                self.links.insert(target.to_owned());
                Ok(())
            }
            EntryType::Regular => {
                let mut options = File::options();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(target)?;
                io::copy(entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode))
            }
            _ => Err(io::Error::other(
                "it is neither a file nor a directory nor a link",
            )),
        }
    }

    /// Gives directories their modes, when everything is in them.
    pub(crate) fn finish(&self) -> io::Result<()> {
        for (path, mode) in self.modes.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode))?;
        }
        Ok(())
    }
}
