//! The words between rack and shim: one line of JSON each way over the shim's socket.
//!
//! Protocol N reads N-1: words are added, never changed. An unknown word is answered, not a reason to fall over.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

/// The longest request that is listened to.
const REQUEST_MAX: usize = 64 << 10;

/// What the rack asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(in crate::local) enum Request {
    /// Stop the process for good: signal, its grace, kill. Idempotent.
    Stop,
    /// Run a command beside the process and answer its exit status.
    Check { argv: Vec<String>, limit_ms: u64 },
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
    /// There is nothing to check beside.
    NotRunning,
    /// It could not be done, and why.
    Failed(String),
}

/// One connection of a rack. Never waited for.
pub(super) struct Client {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            heard: Vec::new(),
        })
    }

    /// Reads what is there. None: not yet. An error: let it go.
    pub(super) fn hear(&mut self) -> io::Result<Option<Request>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.heard.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            self.heard.shrink_to_fit();
            return match serde_json::from_slice(&line) {
                Ok(request) => Ok(Some(request)),
                Err(error) => {
                    self.answer(&Answer::Failed(format!(
                        "this supervisor does not know the word: {error}"
                    )));
                    Ok(None)
                }
            };
        }
        if self.heard.len() > REQUEST_MAX {
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
