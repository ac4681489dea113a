//! The words between rack and shim: one line of JSON each way over the shim's socket.
//!
//! Protocol N reads N-1: words are added, never changed. An unknown word is answered, not a reason to fall over.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::sys;
use crate::local::record::{Attached, ExitRecord};

/// The longest request that is listened to.
pub(in crate::local) const REQUEST_MAX: usize = 64 << 10;
/// Most descriptors with one request.
const FILES_MAX: usize = 8;

/// What the rack asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(in crate::local) enum Request {
    /// Stop the process for good: signal, its grace, kill. Idempotent.
    Stop,
    /// Run a command beside the process and answer its exit status.
    Check { argv: Vec<String>, limit_ms: u64 },
    /// Run a command beside the process on streams of the rack: answered when it was started and when it ended. With the
    /// word come the variables beyond those of the process, and what the streams are made of (`Streams::of`).
    Exec {
        argv: Vec<String>,
        attached: Attached,
    },
    /// End the command that this connection began: hang-up and signal, its grace, kill. Hanging up says the same.
    End,
    /// Interrupt the process, or the command that this connection began, as Ctrl-C on a terminal does.
    Interrupt,
    /// Stop the process as `Stop` does and start it again. Idempotent while it stops.
    Restart,
}

/// What the shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::local) enum Answer {
    /// Accepted.
    Accepted,
    /// The check ended with this status.
    Exit(i32),
    /// The check took longer than its limit and was killed.
    TimedOut,
    /// There is nothing to run beside, or nothing to start again.
    NotRunning,
    /// It could not be done, and why.
    Failed(String),
    /// It is not done, and why.
    Refused(String),
    /// The command was started.
    Started,
    /// The command ended.
    Ended(ExitRecord),
}

/// One connection of a rack. Never waited for.
pub(super) struct Client {
    stream: UnixStream,
    heard: Vec<u8>,
    /// What came along.
    files: Vec<OwnedFd>,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            heard: Vec::new(),
            files: Vec::new(),
        })
    }

    /// Reads what is there. None: not yet. An error: let it go.
    pub(super) fn hear(&mut self) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
        match sys::receive(self.stream.as_fd()) {
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Some((bytes, files))) => {
                self.heard.extend(bytes);
                self.files.extend(files);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            self.heard.shrink_to_fit();
            let files = std::mem::take(&mut self.files);
            return match serde_json::from_slice(&line) {
                Ok(request) => Ok(Some((request, files))),
                Err(error) => {
                    self.answer(&Answer::Failed(format!(
                        "this supervisor does not know the word: {error}"
                    )));
                    Ok(None)
                }
            };
        }
        if self.heard.len() > REQUEST_MAX || self.files.len() > FILES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(None)
    }

    /// Answers; a rack that does not listen misses it.
    pub(super) fn answer(&mut self, answer: &Answer) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            let _ = self.stream.write_all(&line);
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
