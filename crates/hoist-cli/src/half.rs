//! A file that is written beside its place, and gets its name when it is whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// A file that is written beside its place, and goes unless it gets there.
pub(crate) struct Half(PathBuf);

impl Half {
    /// For a file that must not be there yet.
    pub(crate) fn beside(file: &Path) -> Result<Self, CliError> {
        if fs::symlink_metadata(file).is_ok() {
            return Err(CliError::refused(
                format!("{} is there already", file.display()),
                "name a file that is not, or remove it first",
            ));
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let unique = format!(".{name}.half-{}", std::process::id());
        Ok(Self(file.with_file_name(unique)))
    }

    /// Only its owner can read it.
    pub(crate) fn writer(&self) -> Result<File, CliError> {
        let mut options = File::options();
        let made = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.0);
        made.map_err(|source| self.failed(source))
    }

    /// Makes sure that it is on disk, and gives it its name. Answers its size.
    pub(crate) fn finish(self, file: &Path) -> Result<u64, CliError> {
        let finish = || {
            let written = File::open(&self.0)?;
            written.sync_all()?;
            // Not over a file that came meanwhile.
            fs::hard_link(&self.0, file)?;
            let parent = file
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(written.metadata()?.len())
        };
        finish().map_err(|source| self.failed(source))
    }

    pub(crate) fn failed(&self, source: io::Error) -> CliError {
        CliError::io(format!("write {}", self.0.display()), source)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
