//! The reading end: pieces are handed out of the buffer that they were read into.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::websocket::{HEAD_BYTES_MAX, Head, Opcode, turn};
use super::{NOTE_BYTES_MAX, Note, PIECE_BYTES_MAX, SessionError, Side, Stream};

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// The next bytes of a stream, as many as are there; none when the other side only shows that it lives.
    Piece(Stream, &'a [u8]),
    /// A note.
    Note(Note),
    /// A ping, to be answered with its payload.
    Ping(Vec<u8>),
    /// The other side closed the session. Nothing follows.
    Closed,
}

/// The reading end of a session.
pub struct Reader<R> {
    io: R,
    /// Which side writes what this one reads.
    from: Side,
    buffer: Box<[u8]>,
    /// What of the buffer is read and not handed out.
    unread: Range<usize>,
    /// The frame that is being handed out.
    frame: Option<Head>,
    /// The message whose frames are being handed out.
    message: Option<Stream>,
}

/// What can be handed out now.
enum Step {
    Piece(Stream, Range<usize>),
    Note(Note),
    Ping(Vec<u8>),
    Closed,
    /// Something that is skipped.
    Nothing,
    /// More must be read.
    Starved,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The reading end of `side`, on a connection that has been upgraded; `begun` is what was read of it already.
    pub fn new(io: R, side: Side, begun: &[u8]) -> Self {
        let from = match side {
            Side::Client => Side::Rack,
            Side::Rack => Side::Client,
        };
        // A whole piece with its head in one call, and what may follow it.
        let size = PIECE_BYTES_MAX + NOTE_BYTES_MAX;
        let mut buffer = vec![0; size.max(begun.len())].into_boxed_slice();
        buffer[..begun.len()].copy_from_slice(begun);
        Self {
            io,
            from,
            buffer,
            unread: 0..begun.len(),
            frame: None,
            message: None,
        }
    }

    /// The next of the session. Cancelling loses nothing. A connection that ends without being closed is an error.
    pub async fn next(&mut self) -> Result<Received<'_>, SessionError> {
        loop {
            match self.step()? {
                Step::Piece(stream, range) => {
                    return Ok(Received::Piece(stream, &self.buffer[range]));
                }
                Step::Note(note) => return Ok(Received::Note(note)),
                Step::Ping(payload) => return Ok(Received::Ping(payload)),
                Step::Closed => return Ok(Received::Closed),
                Step::Nothing => {}
                Step::Starved => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), SessionError> {
        // Heads and notes must be whole; pieces are handed out, so that there is always room.
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let end = self.wanted();
        let count = self.io.read(&mut self.buffer[self.unread.end..end]).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.unread.end += count;
        Ok(())
    }

    /// How much of the buffer to fill: within a frame no further than the head after it, so that the next piece begins
    /// with a call of its own and is not cut in two.
    fn wanted(&self) -> usize {
        let head_after = match self.from {
            Side::Client => HEAD_BYTES_MAX,
            // No mask.
            Side::Rack => HEAD_BYTES_MAX - 4,
        };
        let room = self.buffer.len();
        self.frame.map_or(room, |head| {
            let rest = usize::try_from(head.length).unwrap_or(room);
            rest.saturating_add(head_after + 1).min(room)
        })
    }

    fn step(&mut self) -> Result<Step, SessionError> {
        let Some(head) = self.frame else {
            let found = Head::read(&self.buffer[self.unread.clone()], self.from)?;
            let Some((head, length)) = found else {
                return Ok(Step::Starved);
            };
            self.unread.start += length;
            self.frame = Some(head);
            return Ok(Step::Nothing);
        };
        if head.opcode.is_control() {
            return Ok(match self.take_whole(head) {
                None => Step::Starved,
                Some(_) if head.opcode == Opcode::Close => Step::Closed,
                Some(payload) if head.opcode == Opcode::Ping => {
                    Step::Ping(self.buffer[payload].to_vec())
                }
                Some(_) => Step::Nothing,
            });
        }
        match (head.opcode, self.message) {
            (Opcode::Binary, Some(_)) => Err(SessionError::Protocol("a message within a message")),
            (Opcode::Binary, None) => self.begin(head),
            (_, None) => Err(SessionError::Protocol("the rest of no message")),
            (_, Some(stream)) => Ok(self.piece(stream, head)),
        }
    }

    /// Reads what a message is about. Of a stream, the rest of the frame follows as the continuation of it.
    fn begin(&mut self, mut head: Head) -> Result<Step, SessionError> {
        if head.length == 0 {
            return Err(SessionError::Protocol("an empty message"));
        }
        let Some(&kind) = self
            .buffer
            .get(self.unread.start)
            .filter(|_| !self.unread.is_empty())
        else {
            return Ok(Step::Starved);
        };
        let kind = kind ^ head.mask.map_or(0, |mask| mask[0]);
        if let Some(stream) = Stream::from_byte(kind) {
            self.unread.start += 1;
            head.length -= 1;
            head.opcode = Opcode::Continuation;
            if let Some(mask) = &mut head.mask {
                mask.rotate_left(1);
            }
            self.frame = Some(head);
            self.message = Some(stream);
            return Ok(Step::Nothing);
        }
        if !head.last || head.length > NOTE_BYTES_MAX as u64 {
            return Err(SessionError::Protocol("an overlong note"));
        }
        let Some(payload) = self.take_whole(head) else {
            return Ok(Step::Starved);
        };
        let note = Note::decode(kind, &self.buffer[payload.start + 1..payload.end])?;
        Ok(note.map_or(Step::Nothing, Step::Note))
    }

    /// The payload of a frame that is not to be handed out in parts, unmasked; none while it is not all there.
    fn take_whole(&mut self, head: Head) -> Option<Range<usize>> {
        if (self.unread.len() as u64) < head.length {
            return None;
        }
        let payload = self.unread.start..self.unread.start + head.length as usize;
        if let Some(mask) = head.mask {
            turn(&mut self.buffer[payload.clone()], mask);
        }
        self.unread.start = payload.end;
        self.frame = None;
        Some(payload)
    }

    /// As much of a stream's frame as is there.
    fn piece(&mut self, stream: Stream, mut head: Head) -> Step {
        let count = head.length.min(self.unread.len() as u64) as usize;
        if count == 0 && head.length > 0 {
            return Step::Starved;
        }
        let piece = self.unread.start..self.unread.start + count;
        if let Some(mask) = &mut head.mask {
            *mask = turn(&mut self.buffer[piece.clone()], *mask);
        }
        self.unread.start = piece.end;
        head.length -= count as u64;
        self.frame = (head.length > 0).then_some(head);
        if head.length == 0 && head.last {
            self.message = None;
        }
        Step::Piece(stream, piece)
    }
}
