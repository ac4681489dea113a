//! Writes an archive from its head to its end.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hoist_api::export::END;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::End;

/// An archive that is not whole until [`Writer::finish`].
pub(crate) struct Writer<W: Write>(Builder<Digested<W>>);

impl<W: Write> Writer<W> {
    /// Begins with the entry that says what it is.
    pub(crate) fn begin(to: W, name: &str, head: &impl Serialize) -> io::Result<Self> {
        let mut writer = Self(Builder::new(Digested {
            to,
            digest: Sha256::new(),
        }));
        let text = serde_json::to_vec_pretty(head).map_err(io::Error::other)?;
        writer.text(name, &text)?;
        Ok(writer)
    }

    /// Appends an entry of these bytes.
    pub(crate) fn text(&mut self, name: &str, text: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        self.0.append_data(&mut header, name, text)
    }

    /// Appends what is at a path, whole.
    pub(crate) fn tree(&mut self, name: &Path, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_symlink() {
            let mut header = header(&metadata, EntryType::Symlink, 0);
            return self.0.append_link(&mut header, name, fs::read_link(path)?);
        }
        if metadata.is_file() {
            return self.file(name, path);
        }
        // Sockets and pipes are made by processes and belong to them.
        if !metadata.is_dir() {
            return Ok(());
        }
        let mut header = header(&metadata, EntryType::Directory, 0);
        self.0.append_data(&mut header, name, io::empty())?;
        let mut entries: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            let below = name.join(entry.file_name().unwrap_or_default());
            self.tree(&below, &entry)?;
        }
        Ok(())
    }

    /// Appends a file.
    pub(crate) fn file(&mut self, name: &Path, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let size = metadata.len();
        // A file of a volume may change while it is copied: it stays as long as its head says.
        let exactly = file.chain(io::repeat(0)).take(size);
        let mut header = header(&metadata, EntryType::Regular, size);
        self.0.append_data(&mut header, name, exactly)
    }

    /// Ends it with the digest of all of it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let sha256 = hex(&self.0.get_ref().digest.clone().finalize());
        let end = serde_json::to_vec(&End { sha256 }).map_err(io::Error::other)?;
        self.text(END, &end)?;
        self.0.into_inner()?.to.flush()
    }
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
