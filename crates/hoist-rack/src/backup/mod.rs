//! A rack in one file, and a rack made from one.
//!
//! A backup is a tar archive: `hoist-backup.json` says what it is, then come the store, slugs and volumes, and `end.json` holds
//! the SHA-256 of all before it. A file that lacks its end or was changed anywhere is refused before anything is made of
//! it. The key of environments is in it only behind a passphrase.

mod format;
mod read;
mod seal;
mod stage;
mod write;

use std::path::{Path, PathBuf};

use hoist_core::id::AppName;

use crate::archive::ArchiveError;
use crate::error::hint;
use crate::secrets::SecretError;
use crate::store::StoreError;

pub use read::{KeyChoice, restore};
pub(crate) use seal::{EXPORT_KEY, SealedKey};
pub(crate) use stage::sweep;
pub use write::backup;

/// What opens the key in a backup. Has no `Debug`.
pub struct Passphrase(String);

impl Passphrase {
    /// None for an empty one.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        Some(Self(text.into())).filter(|passphrase| !passphrase.0.is_empty())
    }
}

/// What goes into a backup beside the store.
#[derive(Default)]
pub struct BackupOptions {
    /// Seals the key; without one the key stays out.
    pub passphrase: Option<Passphrase>,
    /// Leave out slugs.
    pub without_slugs: bool,
    /// Take volumes along.
    pub with_volumes: bool,
}

/// What is in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Apps, by name.
    pub apps: Vec<String>,
    /// How many slugs.
    pub slugs: u32,
    /// How many volumes.
    pub volumes: u32,
    /// Whether the key is in it.
    pub key: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: u64,
    /// The version of Hoist that made it.
    pub version: String,
}

/// Why there is no backup, or no rack from one. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory has no store.
    #[error("there is no rack in {0}")]
    NoRack(PathBuf),
    /// The data directory has something in it.
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    /// The file is no backup.
    #[error("{0} is not a backup of a rack")]
    NotABackup(PathBuf),
    /// The file ends early.
    #[error("{0} is not whole: its end is missing")]
    CutShort(PathBuf),
    /// The file is not as it was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it shows.
        what: String,
    },
    /// The file was written by a newer Hoist.
    #[error("{path} was made by Hoist {version}, which is newer than this one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that made it.
        version: String,
    },
    /// The key in it needs its passphrase.
    #[error("the key in {0} is sealed with a passphrase")]
    PassphraseMissing(PathBuf),
    /// That is not it.
    #[error("the passphrase does not open the key in {0}")]
    PassphraseWrong(PathBuf),
    /// A slug went while it was copied.
    #[error("a slug of app `{0}` was collected while it was copied")]
    Moved(AppName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key failed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The machine failed.
    #[error("could not {doing}")]
    Io {
        /// What it was doing.
        doing: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl BackupError {
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// What the archive said, of a file.
    fn of(path: &Path) -> impl FnOnce(ArchiveError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            ArchiveError::Another(_) => Self::NotABackup(path),
            ArchiveError::CutShort => Self::CutShort(path),
            ArchiveError::Damaged(what) => Self::Damaged { path, what },
            ArchiveError::Newer(version) => Self::Newer { path, version },
            ArchiveError::Io { doing, source } => Self::Io { doing, source },
        }
    }

    /// One thing to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRack(_) => "name the data directory of a rack with --data-dir".to_owned(),
            Self::NotEmpty(_) => {
                "restore into another --data-dir; or stop what runs there with `hoist rack stop --apps` and move it away"
                    .to_owned()
            }
            Self::NotABackup(_) => "name a file that `hoist rack backup` wrote".to_owned(),
            Self::CutShort(_) | Self::Damaged { .. } => "use another copy of it".to_owned(),
            Self::Newer { .. } => "use that version of Hoist, or a newer one".to_owned(),
            Self::PassphraseMissing(_) => {
                "give it with --passphrase-file or HOIST_BACKUP_PASSPHRASE; or leave the key out with --without-key"
                    .to_owned()
            }
            Self::PassphraseWrong(_) => {
                "try another; --without-key restores without the key, which you must bring yourself"
                    .to_owned()
            }
            Self::Moved(_) => "try again".to_owned(),
            Self::Store(error) => hint::store(error).to_owned(),
            Self::Secret(error) => hint::secret(error).to_owned(),
            Self::Io { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests;
