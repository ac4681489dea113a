//! Makes a data directory from a backup. Everything is checked first, then put together beside the place, and moved there whole.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use hoist_core::id::{AppName, BuildId};
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::format::{AnyHead, END, END_BYTES, End, FORMAT, HEAD, Head, SLUGS, STORE, VOLUMES};
use super::stage::{self, Stage};
use super::{BackupError, BackupReport, Passphrase};
use crate::layout::Layout;
use crate::store::begin_epoch;

/// Bytes that a backup's first entry may have.
const HEAD_BYTES_MAX: u64 = 16 << 20;

/// What becomes of the key in a backup.
pub enum KeyChoice {
    /// It is opened.
    Open(Option<Passphrase>),
    /// It stays behind: somebody brings the file.
    Leave,
}

/// Makes the data directory of a rack from a backup. The directory must be empty or absent. It begins a new epoch, so that
/// nothing is named as something before it.
///
/// # Errors
/// [`BackupError`]; nothing was changed.
pub fn restore(file: &Path, data_dir: &Path, key: &KeyChoice) -> Result<BackupReport, BackupError> {
    refuse_used(data_dir)?;
    let head = check(file)?;
    let opened = match (&head.key, key) {
        (None, _) | (_, KeyChoice::Leave) => None,
        (Some(_), KeyChoice::Open(None)) => {
            return Err(BackupError::PassphraseMissing(file.to_owned()));
        }
        (Some(sealed), KeyChoice::Open(Some(passphrase))) => {
            let opened = sealed.open(passphrase);
            Some(opened.ok_or_else(|| BackupError::PassphraseWrong(file.to_owned()))?)
        }
    };
    stage::sweep(data_dir);
    let stage = Stage::beside(data_dir)?;
    let trees = unpack(file, stage.path())?;
    let layout = Layout::new(stage.path());
    begin_epoch(&layout.store())?;
    let modes = trees.finish();
    modes.map_err(BackupError::io("restore the modes of directories"))?;
    if let Some(key) = opened {
        write_key(&layout.key(), &key).map_err(BackupError::io("write the key"))?;
    }
    stage.move_to(data_dir)?;
    let key = opened.is_some();
    Ok(BackupReport {
        key,
        ..head.report()
    })
}

fn refuse_used(data_dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(data_dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty(data_dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io("look into the data directory")(error)),
    }
}

/// Reads the whole file once: what it is, and whether it is as it was written.
fn check(path: &Path) -> Result<Head, BackupError> {
    let reading = || BackupError::io(format!("read {}", path.display()));
    let mut file = File::open(path).map_err(reading())?;
    let head = read_head(path, &file)?;
    let length = file.metadata().map_err(reading())?.len();
    let cut = || BackupError::CutShort(path.to_owned());
    let body = length.checked_sub(END_BYTES).ok_or_else(cut)?;
    file.seek(SeekFrom::Start(body)).map_err(reading())?;
    let end = read_end(&file).ok_or_else(cut)?;
    file.seek(SeekFrom::Start(0)).map_err(reading())?;
    let mut digest = Digesting(Sha256::new());
    io::copy(&mut file.take(body), &mut digest).map_err(reading())?;
    let found: String = digest
        .0
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == end.sha256 {
        Ok(head)
    } else {
        Err(damaged(path, "its SHA-256 is not the one it ends with"))
    }
}

/// The first entry, which says what the file is even when the rest is of a newer form.
fn read_head(path: &Path, file: &File) -> Result<Head, BackupError> {
    let not = || BackupError::NotABackup(path.to_owned());
    let mut archive = Archive::new(BufReader::new(file));
    let mut entries = archive.entries().map_err(|_| not())?;
    let entry = entries.next().and_then(Result::ok).ok_or_else(not)?;
    if *entry.path_bytes() != *HEAD.as_bytes() {
        return Err(not());
    }
    let mut text = Vec::new();
    let read = entry.take(HEAD_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|_| BackupError::CutShort(path.to_owned()))?;
    let unreadable = |_| damaged(path, "what it says of itself cannot be read");
    let any: AnyHead = serde_json::from_slice(&text).map_err(unreadable)?;
    if any.format > FORMAT {
        return Err(BackupError::Newer {
            path: path.to_owned(),
            version: any.version,
        });
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

fn damaged(path: &Path, what: impl Into<String>) -> BackupError {
    BackupError::Damaged {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn unpack(path: &Path, stage: &Path) -> Result<Trees, BackupError> {
    let reading = || BackupError::io(format!("read {}", path.display()));
    let file = File::open(path).map_err(reading())?;
    let mut archive = Archive::new(BufReader::new(file));
    let mut trees = Trees {
        layout: Layout::new(stage),
        links: BTreeSet::new(),
        modes: Vec::new(),
    };
    for entry in archive.entries().map_err(reading())? {
        let mut entry = entry.map_err(reading())?;
        let name = entry.path().map_err(reading())?.into_owned();
        let shown = name.display().to_string();
        let writing = || BackupError::io(format!("restore {shown}"));
        if name == Path::new(HEAD) || name == Path::new(END) {
            continue;
        }
        let target = if name == Path::new(STORE) {
            Some(trees.layout.store())
        } else {
            trees.place(&name)
        };
        let strange = || damaged(path, format!("it holds {shown}, which no backup does"));
        let target = target.ok_or_else(strange)?;
        trees.write(&mut entry, &target).map_err(writing())?;
    }
    if trees.layout.store().is_file() {
        Ok(trees)
    } else {
        Err(damaged(path, "it has no store"))
    }
}

/// Trees on their way into a directory that nobody else writes to.
struct Trees {
    layout: Layout,
    links: BTreeSet<PathBuf>,
    /// Directories get their modes last: one may forbid writing into it.
    modes: Vec<(PathBuf, u32)>,
}

impl Trees {
    /// Where an entry belongs; none for names that a backup does not have. Links lead where they want, since only
    /// processes in their own root follow them; nothing is written through one.
    fn place(&self, name: &Path) -> Option<PathBuf> {
        let mut parts = Vec::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                _ => return None,
            }
        }
        let [kind, app, tree, rest @ ..] = parts.as_slice() else {
            return None;
        };
        let app: AppName = app.to_str()?.parse().ok()?;
        let base = match kind.to_str()? {
            SLUGS => {
                let build: BuildId = tree.to_str()?.parse().ok()?;
                self.layout.slug(&app, &build)
            }
            VOLUMES => self.layout.volume(&app, tree.to_str()?),
            _ => return None,
        };
        let mut path = base;
        for part in rest {
            if self.links.contains(&path) {
                return None;
            }
            path.push(part);
        }
        Some(path)
    }

    fn write(&mut self, entry: &mut tar::Entry<'_, impl Read>, target: &Path) -> io::Result<()> {
        if let Some(parent) = target.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755).create(parent)?;
        }
        let mode = entry.header().mode()? & 0o7777;
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

    fn finish(&self) -> io::Result<()> {
        for (path, mode) in self.modes.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode))?;
        }
        Ok(())
    }
}

fn write_key(path: &Path, key: &[u8; 32]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key)?;
    file.sync_all()
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

#[cfg(test)]
pub(super) fn place_of(name: &Path) -> Option<PathBuf> {
    let trees = Trees {
        layout: Layout::new("/data"),
        links: BTreeSet::new(),
        modes: Vec::new(),
    };
    trees.place(name)
}
