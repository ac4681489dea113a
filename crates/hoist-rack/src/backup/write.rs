//! Writes a backup. The rack may run: the store is copied as of one moment, slugs never change, and volumes are copied as
//! they are found.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hoist_core::id::{AppName, BuildId};

use super::format::{FORMAT, HEAD, Head, SLUGS, STORE, VOLUMES};
use super::seal::{BACKUP_KEY, SealedKey};
use super::{BackupError, BackupOptions, BackupReport};
use crate::archive::Writer;
use crate::clock::wall;
use crate::layout::Layout;
use crate::secrets::read_key;
use crate::store::{Copied, copy_store};

/// What will be in a backup: everything that can be refused was refused, and the store is copied.
pub(crate) struct Prepared {
    store: TemporaryFile,
    head: Head,
    slugs: Vec<(AppName, BuildId)>,
    volumes: Vec<(String, String)>,
    layout: Layout,
}

/// Writes a backup of the rack in a data directory, whether it runs or not.
///
/// # Errors
/// [`BackupError`]; what was written by then is no backup.
pub fn backup(
    layout: &Layout,
    options: &BackupOptions,
    to: impl Write,
) -> Result<BackupReport, BackupError> {
    prepare(layout, options)?.write(to)
}

/// Copies the store and finds what belongs.
pub(crate) fn prepare(layout: &Layout, options: &BackupOptions) -> Result<Prepared, BackupError> {
    if !layout.store().is_file() {
        return Err(BackupError::NoRack(layout.root().to_owned()));
    }
    let key = match &options.passphrase {
        Some(passphrase) => Some(SealedKey::seal(
            &read_key(&layout.key())?,
            passphrase,
            BACKUP_KEY,
        )?),
        None => None,
    };
    let store = TemporaryFile::beside(&layout.store(), wall().0);
    let Copied { apps, needed } = copy_store(&layout.store(), &store.0)?;
    let slugs = if options.without_slugs {
        Vec::new()
    } else {
        let here = |(app, build): &(AppName, BuildId)| layout.slug(app, build).is_dir();
        needed.into_iter().filter(here).collect()
    };
    let volumes = if options.with_volumes {
        volumes(layout)
    } else {
        Vec::new()
    };
    let head = Head {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_ms: wall().0,
        apps: apps.iter().map(ToString::to_string).collect(),
        slugs: slugs.len() as u32,
        volumes: volumes.len() as u32,
        key,
    };
    Ok(Prepared {
        store,
        head,
        slugs,
        volumes,
        layout: layout.clone(),
    })
}

impl Prepared {
    #[cfg(test)]
    pub(super) fn store(&self) -> &Path {
        &self.store.0
    }

    pub(crate) fn write(self, to: impl Write) -> Result<BackupReport, BackupError> {
        let doing = || BackupError::io("write the backup");
        let mut archive = Writer::begin(to, HEAD, &self.head).map_err(doing())?;
        archive
            .file(Path::new(STORE), &self.store.0)
            .map_err(doing())?;
        for (app, build) in &self.slugs {
            let name = Path::new(SLUGS).join(app.as_str()).join(build.as_str());
            let tree = self.layout.slug(app, build);
            archive
                .tree(&name, &tree)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => BackupError::Moved(app.clone()),
                    _ => doing()(error),
                })?;
        }
        for (app, volume) in &self.volumes {
            let name = Path::new(VOLUMES).join(app).join(volume);
            let tree = self.layout.root().join(&name);
            archive.tree(&name, &tree).map_err(doing())?;
        }
        archive.finish().map_err(doing())?;
        Ok(self.head.report())
    }
}

impl Head {
    pub(super) fn report(self) -> BackupReport {
        BackupReport {
            apps: self.apps,
            slugs: self.slugs,
            volumes: self.volumes,
            key: self.key.is_some(),
            created_ms: self.created_ms,
            version: self.version,
        }
    }
}

/// Every volume there is, also of apps that are gone: `volumes/APP/NAME`.
fn volumes(layout: &Layout) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for app in names(&layout.root().join(VOLUMES)) {
        for name in names(&layout.root().join(VOLUMES).join(&app)) {
            found.push((app.clone(), name));
        }
    }
    found.sort();
    found
}

/// Names that are text; the rack makes no others.
fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// A file that goes with the value.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn beside(path: &Path, at: u64) -> Self {
        let unique = format!("db.backup-{}-{at}", std::process::id());
        Self(path.with_extension(unique))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
