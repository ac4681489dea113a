//! Heads of WebSocket frames (RFC 6455) and their masks. Knows nothing of sessions.

use super::{SessionError, Side};

/// The longest head: flags, a length of eight bytes, a mask.
pub(super) const HEAD_BYTES_MAX: usize = 14;
/// The longest payload of a frame that is about the connection itself.
pub(super) const CONTROL_BYTES_MAX: u64 = 125;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn to_bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        [
            Self::Continuation,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ]
        .into_iter()
        .find(|opcode| opcode.to_bits() == bits)
    }

    /// Whether it is about the connection and may stand between the frames of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) last: bool,
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    pub(super) mask: Option<[u8; 4]>,
}

impl Head {
    /// Writes it so that it ends where `room` ends; answers how long it is.
    pub(super) fn write_before(&self, room: &mut [u8]) -> usize {
        let mut head = [0; HEAD_BYTES_MAX];
        head[0] = if self.last { FINAL } else { 0 } | self.opcode.to_bits();
        let mut at = 2;
        head[1] = match self.length {
            short @ 0..126 => short as u8,
            middle @ 126..65_536 => {
                head[2..4].copy_from_slice(&(middle as u16).to_be_bytes());
                at = 4;
                126
            }
            long => {
                head[2..10].copy_from_slice(&long.to_be_bytes());
                at = 10;
                127
            }
        };
        if let Some(mask) = self.mask {
            head[1] |= MASKED;
            head[at..at + 4].copy_from_slice(&mask);
            at += 4;
        }
        let end = room.len();
        room[end - at..].copy_from_slice(&head[..at]);
        at
    }

    /// Reads one off the front, with its length in bytes; none while it is not all there.
    pub(super) fn read(bytes: &[u8], from: Side) -> Result<Option<(Self, usize)>, SessionError> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(SessionError::Protocol(
                "a frame of an extension that was not agreed on",
            ));
        }
        let opcode = Opcode::from_bits(first & 0x0f)
            .ok_or(SessionError::Protocol("a frame that is not binary"))?;
        let (length, taken) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let masked = second & MASKED != 0;
        if masked != (from == Side::Client) {
            return Err(SessionError::Protocol("a frame that is masked wrongly"));
        }
        let mask = match (masked, rest[taken..].first_chunk::<4>()) {
            (true, None) => return Ok(None),
            (true, Some(mask)) => Some(*mask),
            (false, _) => None,
        };
        let last = first & FINAL != 0;
        if opcode.is_control() && (!last || length > CONTROL_BYTES_MAX) {
            return Err(SessionError::Protocol("an overlong control frame"));
        }
        let head = Self {
            last,
            opcode,
            length,
            mask,
        };
        Ok(Some((head, 2 + taken + if masked { 4 } else { 0 })))
    }
}

/// Masks or unmasks bytes in place, from where `mask` stands; answers it turned to where it stands afterwards.
pub(super) fn turn(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    // Whole blocks of a fixed size: the compiler makes them vector instructions.
    const BLOCK: usize = 32;
    let mut block_mask = [0; BLOCK];
    for (at, byte) in block_mask.iter_mut().enumerate() {
        *byte = mask[at % 4];
    }
    let mut blocks = bytes.chunks_exact_mut(BLOCK);
    for block in &mut blocks {
        for (byte, mask) in block.iter_mut().zip(&block_mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in blocks.into_remainder().iter_mut().zip(&block_mask) {
        *byte ^= mask;
    }
    let mut after = mask;
    after.rotate_left(bytes.len() % 4);
    after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heads_read_as_they_were_written(
            last: bool,
            control: bool,
            length in prop_oneof![0..70_000u64, any::<u64>()],
            mask: Option<[u8; 4]>,
            cut in 0..HEAD_BYTES_MAX,
        ) {
            let head = if control {
                Head { last: true, opcode: Opcode::Ping, length: length % 126, mask }
            } else {
                Head { last, opcode: Opcode::Binary, length, mask }
            };
            let mut room = [0; HEAD_BYTES_MAX];
            let taken = head.write_before(&mut room);
            let bytes = &room[HEAD_BYTES_MAX - taken..];
            let from = if mask.is_some() { Side::Client } else { Side::Rack };
            prop_assert_eq!(Head::read(bytes, from).unwrap(), Some((head, taken)));
            if cut < taken {
                prop_assert_eq!(Head::read(&bytes[..cut], from).unwrap(), None);
            }
            let other = if mask.is_some() { Side::Rack } else { Side::Client };
            prop_assert!(Head::read(bytes, other).is_err());
        }

        #[test]
        fn masks_turn_back_whatever_the_pieces(bytes: Vec<u8>, mask: [u8; 4], cut: prop::sample::Index) {
            let mut turned = bytes.clone();
            let cut = cut.index(bytes.len() + 1);
            let (front, back) = turned.split_at_mut(cut);
            let mask_there = turn(front, mask);
            turn(back, mask_there);
            for (at, (turned, byte)) in turned.iter().zip(&bytes).enumerate() {
                prop_assert_eq!(*turned, byte ^ mask[at % 4]);
            }
            turn(&mut turned, mask);
            prop_assert_eq!(turned, bytes);
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Head::read(&bytes, Side::Client);
            let _ = Head::read(&bytes, Side::Rack);
        }
    }
}
