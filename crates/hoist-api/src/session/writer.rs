//! The writing end: one call of the operating system for a head and its payload together.

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::websocket::{HEAD_BYTES_MAX, Head, Opcode, turn};
use super::{Note, PIECE_BYTES_MAX, SessionError, Side, Stream};

/// What stands before the bytes of a piece: the frame's head and the byte that names the stream.
const ROOM: usize = HEAD_BYTES_MAX + 1;
/// Close frames say: done.
const NORMAL_CLOSURE: u16 = 1000;

/// Bytes of a stream on their way, with room before them for the frame's head. Filled and sent again and again.
pub struct Piece {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Default for Piece {
    fn default() -> Self {
        Self {
            bytes: vec![0; ROOM + PIECE_BYTES_MAX].into_boxed_slice(),
            filled: 0,
        }
    }
}

impl Piece {
    /// Where the next bytes are to be read into, over those that were sent.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[ROOM..]
    }

    /// Says how many bytes of [`Piece::space`] were read.
    pub fn set_filled(&mut self, count: usize) {
        self.filled = count.min(PIECE_BYTES_MAX);
    }
}

/// The writing end of a session. A call that is cancelled leaves half a frame behind: afterwards only drop it.
pub struct Writer<W> {
    io: W,
    side: Side,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// The writing end of this side on a connection that has been upgraded.
    pub fn new(io: W, side: Side) -> Self {
        Self { io, side }
    }

    /// Sends a piece of a stream. What it holds is no longer what was filled in.
    pub async fn send(&mut self, stream: Stream, piece: &mut Piece) -> Result<(), SessionError> {
        piece.bytes[ROOM - 1] = stream.to_byte();
        let end = ROOM + piece.filled;
        self.frame(Opcode::Binary, &mut piece.bytes[..end], ROOM - 1)
            .await
    }

    /// Sends an empty piece, so that a connection that is gone shows itself.
    pub async fn keep_alive(&mut self) -> Result<(), SessionError> {
        self.small(Opcode::Binary, &[Stream::Output.to_byte()])
            .await
    }

    /// Sends a note.
    pub async fn note(&mut self, note: &Note) -> Result<(), SessionError> {
        let message = note.encode().map_err(SessionError::BadNote)?;
        self.small(Opcode::Binary, &message).await
    }

    /// Answers a ping.
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), SessionError> {
        self.small(Opcode::Pong, payload).await
    }

    /// Says that nothing follows, and closes this direction.
    pub async fn close(&mut self) -> Result<(), SessionError> {
        self.small(Opcode::Close, &NORMAL_CLOSURE.to_be_bytes())
            .await?;
        Ok(self.io.shutdown().await?)
    }

    async fn small(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SessionError> {
        let mut bytes = vec![0; HEAD_BYTES_MAX];
        bytes.extend(payload);
        self.frame(opcode, &mut bytes, HEAD_BYTES_MAX).await
    }

    /// Writes the payload from `payload_at` on, with its head in the room before it.
    async fn frame(
        &mut self,
        opcode: Opcode,
        bytes: &mut [u8],
        payload_at: usize,
    ) -> Result<(), SessionError> {
        let (room, payload) = bytes.split_at_mut(payload_at);
        let mask = self.mask();
        let head = Head {
            last: true,
            opcode,
            length: payload.len() as u64,
            mask,
        };
        if let Some(mask) = mask {
            turn(payload, mask);
        }
        let from = payload_at - head.write_before(room);
        self.io.write_all(&bytes[from..]).await?;
        Ok(self.io.flush().await?)
    }

    /// Masks are against caches between client and rack that take a payload for a request; they need not be secret.
    fn mask(&self) -> Option<[u8; 4]> {
        (self.side == Side::Client).then(|| {
            let mut mask = [0; 4];
            let _ = getrandom::fill(&mut mask);
            mask
        })
    }
}
