//! Both ends of a session: the streams of an attached process over one WebSocket.
//!
//! Every message is binary. Its first byte says what follows: a piece of a [`Stream`], or a [`Note`]. The rack's last
//! message is [`Note::Exit`]; a session that ends without it was cut off, and nobody may take that for exit 0. Pieces pass
//! as they arrive and are never gathered, so a slow reader holds up the writer and takes no memory; both sides write
//! their own buffers and copy nothing.

mod handshake;
mod reader;
mod websocket;
mod writer;

pub use handshake::{VERSION, accept_of, new_key};
pub use reader::{Reader, Received};
pub use writer::{Piece, Writer};

use std::io;

use crate::types::{SessionExit, TerminalSize};

/// Bytes of a stream that travel together at most: large enough that calls cost nothing, small enough for a cache.
pub const PIECE_BYTES_MAX: usize = 256 << 10;
/// The rack shows that a silent session lives after so many seconds, and so notices a client that is gone.
pub const KEEP_ALIVE_SECONDS: u64 = 5;
/// Bytes of a note at most.
const NOTE_BYTES_MAX: usize = 4 << 10;

/// A stream of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What it reads.
    Input,
    /// What it writes; on a terminal everything that it writes.
    Output,
    /// What it writes to standard error.
    Errors,
}

/// What is said beside the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// To the rack: there is no more input.
    InputEnd,
    /// To the rack: the terminal has this size now.
    Resize(TerminalSize),
    /// To the rack: interrupt the process, as Ctrl-C on a terminal does.
    Interrupt,
    /// To the client, last: how the process ended.
    Exit(SessionExit),
}

/// Which end of a session this is. Only the client masks, as RFC 6455 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that attached.
    Client,
    /// The one that holds the process.
    Rack,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke.
    #[error("the connection broke off")]
    Io(#[from] io::Error),
    /// The other side does not speak WebSocket, or not as this version does.
    #[error("the other side sent {0}")]
    Protocol(&'static str),
    /// A note is not what it should be.
    #[error("the other side sent a malformed note")]
    BadNote(#[source] serde_json::Error),
}

const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const ERRORS: u8 = 2;
const INPUT_END: u8 = 3;
const RESIZE: u8 = 4;
const INTERRUPT: u8 = 5;
const EXIT: u8 = 6;

impl Stream {
    fn to_byte(self) -> u8 {
        match self {
            Self::Input => INPUT,
            Self::Output => OUTPUT,
            Self::Errors => ERRORS,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Input, Self::Output, Self::Errors]
            .into_iter()
            .find(|stream| stream.to_byte() == byte)
    }
}

impl Note {
    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (kind, text) = match self {
            Self::InputEnd => (INPUT_END, Vec::new()),
            Self::Resize(size) => (RESIZE, serde_json::to_vec(size)?),
            Self::Interrupt => (INTERRUPT, Vec::new()),
            Self::Exit(exit) => (EXIT, serde_json::to_vec(exit)?),
        };
        let mut message = vec![kind];
        message.extend(text);
        Ok(message)
    }

    /// A kind that this version does not know is none.
    fn decode(kind: u8, text: &[u8]) -> Result<Option<Self>, SessionError> {
        Ok(Some(match kind {
            INPUT_END => Self::InputEnd,
            INTERRUPT => Self::Interrupt,
            RESIZE => Self::Resize(serde_json::from_slice(text).map_err(SessionError::BadNote)?),
            EXIT => Self::Exit(serde_json::from_slice(text).map_err(SessionError::BadNote)?),
            _ => return Ok(None),
        }))
    }
}
