//! Makes a data directory from a backup. Everything is checked first, then put together beside the place, and moved there whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hoist_core::id::AppName;

use super::format::{Head, READING, SLUGS, STORE, VOLUMES};
use super::seal::BACKUP_KEY;
use super::stage::{self, Stage};
use super::{BackupError, BackupReport, Passphrase};
use crate::archive::{self, ArchiveError, Unpacker};
use crate::layout::Layout;
use crate::store::begin_epoch;

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
            let opened = sealed.open(passphrase, BACKUP_KEY);
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
    archive::check(path, &READING).map_err(BackupError::of(path))
}

/// Puts everything below a stage.
fn unpack(path: &Path, stage: &Path) -> Result<Unpacker, BackupError> {
    let layout = Layout::new(stage);
    let mut trees = Unpacker::new(0o7777);
    archive::rest_of(path, &READING, |name, entry| {
        let Some(target) = place(&layout, &trees, name) else {
            return Ok(false);
        };
        let written = trees.write(entry, &target);
        let doing = || ArchiveError::io(format!("restore {}", name.display()));
        written.map_err(doing()).map(|()| true)
    })
    .map_err(BackupError::of(path))?;
    if layout.store().is_file() {
        Ok(trees)
    } else {
        let what = ArchiveError::Damaged("it has no store".to_owned());
        Err(BackupError::of(path)(what))
    }
}

/// Where an entry belongs; none for names that a backup does not have.
fn place(layout: &Layout, trees: &Unpacker, name: &Path) -> Option<PathBuf> {
    if name == Path::new(STORE) {
        return Some(layout.store());
    }
    let (first, rest) = Unpacker::split(name, 3)?;
    let app: AppName = first[1].parse().ok()?;
    let base = match first[0] {
        SLUGS => layout.slug(&app, &first[2].parse().ok()?),
        VOLUMES => layout.volume(&app, first[2]),
        _ => return None,
    };
    trees.place(base, rest)
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

#[cfg(test)]
pub(super) fn place_of(name: &Path) -> Option<PathBuf> {
    place(&Layout::new("/data"), &Unpacker::new(0o7777), name)
}
