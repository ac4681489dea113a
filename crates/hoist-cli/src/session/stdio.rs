//! The threads that read input and write output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hoist_api::session::{Note, Piece, Reader, Received, Stream};
use hoist_api::types::SessionExit;
use tokio::net::tcp::OwnedReadHalf;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::environment::Environment;

/// Pieces of input between reading and sending.
const PIECES: usize = 3;

/// How a session came to its end.
pub(super) enum Ended {
    /// The process ended, and this is how.
    Exited(SessionExit),
    /// The connection broke before.
    Broken,
    /// Nobody reads what it writes.
    NobodyReads,
    /// What it writes cannot be written on.
    Unwritten(io::Error),
    /// The user left, with this exit code.
    Left(u8),
}

/// Standard input, read by a thread of its own. The thread ends with the input, or with this program.
pub(super) struct Input {
    /// What was read, to be sent; none when there is no more.
    pub(super) filled: mpsc::Receiver<Piece>,
    /// What was sent, to be read into.
    pub(super) empty: mpsc::Sender<Piece>,
    /// Set when the process reads no more.
    pub(super) ended: Arc<AtomicBool>,
}

impl Input {
    pub(super) fn start(environment: &Environment) -> io::Result<Self> {
        let (to_send, filled) = mpsc::channel(PIECES);
        let (empty, mut to_fill) = mpsc::channel(PIECES);
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..PIECES {
            // There is a place for each.
            let _ = empty.try_send(Piece::default());
        }
        if environment.reads_input {
            let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let done = ended.clone();
            let read = move || {
                while let Some(mut piece) = to_fill.blocking_recv() {
                    // A terminal that hung up is at its end.
                    let count = read(&mut file, piece.space()).unwrap_or(0);
                    piece.set_filled(count);
                    let over = count == 0 || done.load(Ordering::Relaxed);
                    if over || to_send.blocking_send(piece).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new()
                .name("input".to_owned())
                .spawn(read)?;
        }
        Ok(Self {
            filled,
            empty,
            ended,
        })
    }
}

fn read(file: &mut File, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Writes what arrives, in a thread of its own; the result comes when the session ended. `input_ended` is set when the
/// process reads no more.
pub(super) fn print(
    mut reader: Reader<OwnedReadHalf>,
    input_ended: Arc<AtomicBool>,
) -> io::Result<oneshot::Receiver<Ended>> {
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut errors = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (sender, ended) = oneshot::channel();
    // The runtime's own thread waits for the connection; this one may block in a write meanwhile.
    let runtime = Handle::current();
    let print = move || {
        let write = async {
            loop {
                match reader.next().await {
                    Ok(Received::Piece(Stream::Output, bytes)) => match output.write_all(bytes) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                            return Ended::NobodyReads;
                        }
                        Err(error) => return Ended::Unwritten(error),
                    },
                    Ok(Received::Piece(Stream::Errors, bytes)) => {
                        // As with any program: what cannot be complained to is not complained to.
                        let _ = errors.write_all(bytes);
                    }
                    Ok(Received::Note(Note::Exit(exit))) => return Ended::Exited(exit),
                    Ok(Received::Note(Note::InputEnd)) => {
                        input_ended.store(true, Ordering::Relaxed)
                    }
                    Ok(Received::Piece(..) | Received::Note(_) | Received::Ping(_)) => {}
                    Ok(Received::Closed) | Err(_) => return Ended::Broken,
                }
            }
        };
        let _ = sender.send(runtime.block_on(write));
    };
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(print)?;
    Ok(ended)
}
