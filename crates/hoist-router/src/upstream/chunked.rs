//! Takes chunked bodies apart, however the bytes arrive, and refuses what is not to the letter.

use bytes::{Buf, Bytes, BytesMut};

/// Longest line of a chunk's size with its extensions, and of all trailers together.
const LINE_BYTES_MAX: usize = 4 << 10;
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    Size,
    Data(u64),
    DataEnd,
    Trailers(usize),
    End,
}

/// What one look at the buffer gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    More,
    End,
}

/// The body breaks the rules of chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadChunk;

impl Chunked {
    /// Takes the next piece off the front of `buffer`. After [`Piece::End`] the buffer holds what follows the body.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, BadChunk> {
        self.pass_framing(buffer)?;
        match *self {
            Self::End => Ok(Piece::End),
            Self::Data(left) if !buffer.is_empty() => {
                let here = left.min(buffer.len() as u64);
                *self = if here == left {
                    Self::DataEnd
                } else {
                    Self::Data(left - here)
                };
                Ok(Piece::Data(buffer.split_to(here as usize).freeze()))
            }
            _ => Ok(Piece::More),
        }
    }

    /// Takes all that stands before the next byte of data, as far as it has arrived. What is refused is not taken, so
    /// that the next call refuses it again.
    pub(super) fn pass_framing(&mut self, buffer: &mut BytesMut) -> Result<(), BadChunk> {
        loop {
            match *self {
                Self::Size => {
                    let Some(length) = line(buffer, LINE_BYTES_MAX)? else {
                        return Ok(());
                    };
                    let size = size(&buffer[..length])?;
                    buffer.advance(length + 2);
                    *self = if size == 0 {
                        Self::Trailers(0)
                    } else {
                        Self::Data(size)
                    };
                }
                Self::DataEnd if buffer.len() < 2 => return Ok(()),
                Self::DataEnd => {
                    if !buffer.starts_with(b"\r\n") {
                        return Err(BadChunk);
                    }
                    buffer.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers(seen) => {
                    let left = TRAILER_BYTES_MAX.saturating_sub(seen);
                    let Some(length) = line(buffer, left)? else {
                        return Ok(());
                    };
                    buffer.advance(length + 2);
                    *self = if length == 0 {
                        Self::End
                    } else {
                        Self::Trailers(seen + length + 2)
                    };
                }
                Self::Data(_) | Self::End => return Ok(()),
            }
        }
    }
}

/// The length of the first line without its end; none while it is incomplete.
fn line(buffer: &[u8], most: usize) -> Result<Option<usize>, BadChunk> {
    match buffer.iter().position(|byte| *byte == b'\n') {
        None if buffer.len() > most => Err(BadChunk),
        None => Ok(None),
        Some(end) if end == 0 || buffer[end - 1] != b'\r' || end > most => Err(BadChunk),
        Some(end) => Ok(Some(end - 1)),
    }
}

fn size(line: &[u8]) -> Result<u64, BadChunk> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let extension = line[digits..].trim_ascii_start();
    if digits == 0 || digits > 15 || !(extension.is_empty() || extension.starts_with(b";")) {
        return Err(BadChunk);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| BadChunk)?;
    u64::from_str_radix(text, 16).map_err(|_| BadChunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes bytes that arrive in the given pieces.
    fn decode<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), BadChunk> {
        let mut state = Chunked::Size;
        let (mut buffer, mut body, mut ended) = (BytesMut::new(), Vec::new(), false);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match state.take(&mut buffer)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::More => break,
                    Piece::End => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        Ok((body, buffer.to_vec(), ended))
    }

    #[test]
    fn what_is_not_to_the_letter_is_refused() {
        for bad in [
            "x\r\n",
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "-5\r\n",
            "5 x\r\n",
            "fffffffffffffffff\r\n",
            "0x5\r\n",
        ] {
            assert_eq!(decode([bad.as_bytes()]), Err(BadChunk), "{bad:?}");
        }
        assert_eq!(
            decode(["1".repeat(LINE_BYTES_MAX + 1).as_bytes()]),
            Err(BadChunk)
        );
    }

    #[test]
    fn extensions_and_trailers_are_skipped_and_what_follows_is_kept() {
        let (body, rest, ended) =
            decode([&b"5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nHTTP"[..]]).unwrap();
        assert_eq!(
            (body.as_slice(), rest.as_slice(), ended),
            (&b"hello"[..], &b"HTTP"[..], true)
        );
    }

    proptest! {
        #[test]
        fn any_body_survives_any_cuts(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            cut in 1_usize..40,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (body, rest, ended) = decode(wire.chunks(cut)).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(rest.is_empty() && ended);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..20) {
            let _ = decode(bytes.chunks(cut));
        }
    }
}
