//! Streams archives as pieces: a whole source, or the contents of one that the rack lacks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::listing::hex;
use super::{Exactly, PackageError, Parts, Source};

/// Bytes in one piece of the upload.
const PIECE_BYTES: usize = 64 << 10;

/// An upload on its way: its pieces, and how many bytes of it were handed on.
pub(crate) struct Upload {
    /// A bounded channel: reading goes no faster than the network. A failure arrives as the last piece.
    pub(crate) pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Grows as pieces are made.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Source {
    /// Starts to stream the whole as an archive.
    pub(crate) fn send(self) -> Upload {
        send(move |writer| self.write(writer))
    }
}

impl Parts {
    /// Starts to stream them as an archive of files named by their digests.
    pub(crate) fn send(self) -> Upload {
        send(move |writer| self.write(writer))
    }

    /// Writes the whole archive.
    ///
    /// # Errors
    /// [`PackageError::Changed`] for a file that is not what it was when it was listed.
    pub(crate) fn write(&self, writer: impl Write) -> Result<(), PackageError> {
        let mut archive = Builder::new(writer);
        for (name, path, size) in &self.files {
            self.append(&mut archive, name, path, *size)?;
        }
        let finished = archive.into_inner().and_then(|mut writer| writer.flush());
        finished.map_err(|source| PackageError::Read {
            path: self.root.clone(),
            source,
        })
    }

    fn append(
        &self,
        archive: &mut Builder<impl Write>,
        name: &str,
        path: &Path,
        size: u64,
    ) -> Result<(), PackageError> {
        let read = |source| PackageError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(self.root.join(path)).map_err(read)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        let mut digested = Digested {
            file: Exactly { file, left: size },
            digest: Sha256::new(),
        };
        let appended = archive.append_data(&mut header, name, &mut digested);
        appended.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => PackageError::Changed(path.to_owned()),
            _ => read(source),
        })?;
        if hex(&digested.digest.finalize()) == name {
            Ok(())
        } else {
            Err(PackageError::Changed(path.to_owned()))
        }
    }
}

/// Digests what is read through it.
struct Digested {
    file: Exactly,
    digest: Sha256,
}

impl Read for Digested {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// Starts to stream what `write` writes.
pub(crate) fn send<E: std::error::Error + Send + Sync + 'static>(
    write: impl FnOnce(&mut PieceWriter) -> Result<(), E> + Send + 'static,
) -> Upload {
    let (sender, pieces) = mpsc::channel(4);
    let sent = Arc::new(AtomicU64::new(0));
    let mut writer = PieceWriter {
        sender: sender.clone(),
        piece: Vec::with_capacity(PIECE_BYTES),
        sent: sent.clone(),
    };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&mut writer) {
            // The receiver is gone when the rack hung up: it says why itself.
            let _ = sender.blocking_send(Err(io::Error::other(error)));
        }
    });
    Upload { pieces, sent }
}

/// Gathers writes into pieces and hands them on.
pub(crate) struct PieceWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let bytes = piece.len() as u64;
        self.sender
            .blocking_send(Ok(Bytes::from(piece)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}
