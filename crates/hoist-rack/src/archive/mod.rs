//! A tar archive that says first what it is and last whether it is whole: the form of backups and exports.
//!
//! The first entry is JSON, the last one holds the SHA-256 of all before it. A file that lacks its end, or was changed
//! anywhere, is refused before anything is made of it.

mod read;
mod write;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use read::{Reading, Unpacker, check, rest_of};
pub(crate) use write::Writer;

/// What follows the entries before the last one: its head, its text, and the end of the archive.
const END_BYTES: u64 = 512 + 512 + 1024;

/// The last entry's text.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// Of all bytes before the last entry, in hexadecimal.
    sha256: String,
}

/// What every format says, so that a newer one can be named.
#[derive(Debug, Deserialize)]
struct AnyHead {
    format: u32,
    version: String,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// Its first entry is another one, named here as far as it can be read.
    #[error("it begins with something else")]
    Another(Option<String>),
    /// It ends early.
    #[error("its end is missing")]
    CutShort,
    /// It is not as it was written.
    #[error("{0}")]
    Damaged(String),
    /// It was written by a newer Hoist.
    #[error("it was made by Hoist {0}, which is newer than this one")]
    Newer(String),
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

impl ArchiveError {
    /// What went wrong with an entry: the machine's fault, or that of who wrote it.
    pub(crate) fn of_entry(doing: String, error: io::Error) -> Self {
        let written_wrong =
            error.raw_os_error().is_none() || error.kind() == io::ErrorKind::AlreadyExists;
        match written_wrong {
            true => Self::Damaged(format!("could not {doing}: {error}")),
            false => Self::Io {
                doing,
                source: error,
            },
        }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Removes a tree, directories that forbid it included.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path)
}
