//! Backups for the command line: words and values of the rack, in those that the command line has.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hoist_cli::{BackupContents, BackupWish, Passphrase, RackError, Restored};
use hoist_rack::Layout;
use hoist_rack::backup::{self, BackupError, BackupOptions, BackupReport, KeyChoice};

/// Writes a backup of the rack in a data directory, whether it runs or not.
pub(crate) async fn write(
    data_dir: &Path,
    wish: BackupWish,
    to: File,
) -> Result<BackupContents, RackError> {
    let layout = Layout::new(data_dir);
    let options = BackupOptions {
        passphrase: wish.passphrase.as_ref().and_then(of_rack),
        without_slugs: wish.without_slugs,
        with_volumes: wish.with_volumes,
    };
    let written = blocking(move || {
        let mut to = BufWriter::with_capacity(1 << 20, to);
        let report = backup::backup(&layout, &options, &mut to)?;
        to.flush().map_err(|source| BackupError::Io {
            doing: "write the backup".to_owned(),
            source,
        })?;
        Ok(report)
    });
    written.await?.map(contents).map_err(refused)
}

/// Makes a data directory from a backup.
pub(crate) async fn restore(
    file: &Path,
    data_dir: &Path,
    passphrase: Option<Passphrase>,
    without_key: bool,
) -> Result<Restored, RackError> {
    let (file, data_dir): (PathBuf, PathBuf) = (file.to_owned(), data_dir.to_owned());
    let key = if without_key {
        KeyChoice::Leave
    } else {
        KeyChoice::Open(passphrase.as_ref().and_then(of_rack))
    };
    let restored = blocking(move || backup::restore(&file, &data_dir, &key));
    match restored.await? {
        Ok(report) => Ok(Restored::Done(contents(report))),
        Err(error @ BackupError::PassphraseMissing(_)) => Ok(Restored::Sealed(refused(error))),
        Err(error) => Err(refused(error)),
    }
}

fn of_rack(passphrase: &Passphrase) -> Option<backup::Passphrase> {
    backup::Passphrase::new(passphrase.reveal())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RackError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RackError {
        message: "it was interrupted".to_owned(),
        hint: None,
        source: Some(Box::new(error)),
    })
}

fn contents(report: BackupReport) -> BackupContents {
    BackupContents {
        apps: report.apps,
        slugs: report.slugs,
        volumes: report.volumes,
        key: report.key,
        created_ms: report.created_ms,
        version: report.version,
    }
}

fn refused(error: BackupError) -> RackError {
    RackError {
        message: error.to_string(),
        hint: error.hint(),
        source: cause(&error),
    }
}

/// All that an error says beside itself.
fn cause(error: &BackupError) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    std::error::Error::source(error)?;
    let whole = hoist_rack::with_causes(error);
    let own = error.to_string();
    let rest = whole.strip_prefix(&own).unwrap_or(&whole);
    Some(rest.trim_start_matches(": ").to_owned().into())
}
