//! Writes a backup. The rack may run: the store is copied as of one moment, slugs never change, and volumes are copied as
//! they are found.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hoist_core::id::{AppName, BuildId};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::format::{END, End, FORMAT, HEAD, Head, SLUGS, STORE, VOLUMES};
use super::seal::SealedKey;
use super::{BackupError, BackupOptions, BackupReport};
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
        Some(passphrase) => Some(SealedKey::seal(&read_key(&layout.key())?, passphrase)?),
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
    pub(crate) fn write(self, to: impl Write) -> Result<BackupReport, BackupError> {
        let doing = || BackupError::io("write the backup");
        let mut archive = Builder::new(Digested {
            to,
            digest: Sha256::new(),
        });
        let head = serde_json::to_vec_pretty(&self.head).map_err(io::Error::other);
        append(&mut archive, HEAD, &head.map_err(doing())?).map_err(doing())?;
        append_file(&mut archive, Path::new(STORE), &self.store.0).map_err(doing())?;
        for (app, build) in &self.slugs {
            let name = Path::new(SLUGS).join(app.as_str()).join(build.as_str());
            let tree = self.layout.slug(app, build);
            append_tree(&mut archive, &name, &tree).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => BackupError::Moved(app.clone()),
                _ => doing()(error),
            })?;
        }
        for (app, volume) in &self.volumes {
            let name = Path::new(VOLUMES).join(app).join(volume);
            let tree = self.layout.root().join(&name);
            append_tree(&mut archive, &name, &tree).map_err(doing())?;
        }
        let sha256 = archive.get_ref().digest.clone().finalize();
        let sha256 = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let end = serde_json::to_vec(&End { sha256 }).map_err(io::Error::other);
        append(&mut archive, END, &end.map_err(doing())?).map_err(doing())?;
        archive
            .into_inner()
            .and_then(|mut digested| digested.to.flush())
            .map_err(doing())?;
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

type Archive<W> = Builder<Digested<W>>;

fn append<W: Write>(archive: &mut Archive<W>, name: &str, text: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, name, text)
}

fn append_tree<W: Write>(archive: &mut Archive<W>, name: &Path, path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        let mut header = header(&metadata, EntryType::Symlink, 0);
        return archive.append_link(&mut header, name, fs::read_link(path)?);
    }
    if metadata.is_file() {
        return append_file(archive, name, path);
    }
    // Sockets and pipes are made by processes and belong to them.
    if !metadata.is_dir() {
        return Ok(());
    }
    let mut header = header(&metadata, EntryType::Directory, 0);
    archive.append_data(&mut header, name, io::empty())?;
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let below = name.join(entry.file_name().unwrap_or_default());
        append_tree(archive, &below, &entry)?;
    }
    Ok(())
}

fn append_file<W: Write>(archive: &mut Archive<W>, name: &Path, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let size = metadata.len();
    // A file of a volume may change while it is copied: it stays as long as its head says.
    let exactly = file.chain(io::repeat(0)).take(size);
    let mut header = header(&metadata, EntryType::Regular, size);
    archive.append_data(&mut header, name, exactly)
}

fn header(metadata: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(metadata.permissions().mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header
}

/// Digests what is written through it.
struct Digested<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.digest.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
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
