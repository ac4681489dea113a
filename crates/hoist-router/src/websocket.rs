//! Where WebSocket frames begin and end in a stream, so that a close can be written between two of them.
//!
//! Frames of usual size are let through only whole: then a process that dies in the middle of one leaves its client at a
//! boundary. Larger ones pass as they arrive.

/// Frames up to this size, header included, are let through only whole.
const WHOLE_BYTES_MAX: u64 = 16 << 10;

/// The endpoint is going away: the router ends.
pub(crate) const GOING_AWAY: u16 = 1001;
/// The service restarts: its process ended, connect again.
pub(crate) const SERVICE_RESTART: u16 = 1012;

const CLOSE: u8 = 8;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What is left of a large frame that passes as it arrives.
    left: u64,
    closed: bool,
}

impl Frames {
    /// How many bytes of `buffer` may pass now. The caller takes exactly these off its front.
    pub(crate) fn passable(&mut self, buffer: &[u8]) -> usize {
        let mut at = self.left.min(buffer.len() as u64) as usize;
        self.left -= at as u64;
        while let Some((opcode, length)) = frame(&buffer[at..]) {
            let here = (buffer.len() - at) as u64;
            if length > here && length <= WHOLE_BYTES_MAX {
                break;
            }
            self.closed |= opcode == CLOSE;
            self.left = length.saturating_sub(here);
            at += length.min(here) as usize;
        }
        at
    }

    /// Whether what has passed ends with a whole frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// Whether a close frame has passed.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }
}

/// Opcode and length, header included, of the frame that begins here; none while that is not known.
fn frame(bytes: &[u8]) -> Option<(u8, u64)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let (header, payload) = match second & 0x7f {
        126 => (
            4,
            u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        ),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    Some((first & 0x0f, payload.saturating_add(header + mask)))
}

/// A close frame as servers send it.
pub(crate) fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x80 | CLOSE, 2, high, low]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if masked { 0x80 } else { 0 };
        match payload.len() {
            short @ 0..126 => frame.push(mask | short as u8),
            middle @ 126..65536 => {
                frame.push(mask | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(mask | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4].iter().take(if masked { 4 } else { 0 }));
        frame.extend(payload);
        frame
    }

    proptest! {
        #[test]
        fn all_bytes_pass_and_small_frames_only_whole(
            frames in prop::collection::vec((1_u8..3, 0_usize..40_000, any::<bool>()), 1..6),
            cut in 1_usize..9000,
        ) {
            let frames: Vec<_> = frames.iter().map(|(op, len, mask)| encode(*op, &vec![9; *len], *mask)).collect();
            let mut ends = vec![0];
            for frame in &frames {
                ends.push(ends[ends.len() - 1] + frame.len());
            }
            let (mut state, mut buffer, mut passed) = (Frames::default(), Vec::new(), 0);
            for piece in frames.concat().chunks(cut) {
                buffer.extend(piece);
                let pass = state.passable(&buffer);
                buffer.drain(..pass);
                passed += pass;
                let inside = ends.windows(2).find(|w| w[0] < passed && passed < w[1]);
                prop_assert_eq!(state.at_boundary(), inside.is_none());
                prop_assert!(inside.is_none_or(|w| w[1] - w[0] > WHOLE_BYTES_MAX as usize));
            }
            prop_assert_eq!(passed, ends[ends.len() - 1]);
            prop_assert!(!state.closed());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let pass = Frames::default().passable(&bytes);
            prop_assert!(pass <= bytes.len());
        }
    }

    #[test]
    fn a_close_is_seen_once_it_has_passed() {
        let mut frames = Frames::default();
        let close = close_frame(GOING_AWAY);
        assert_eq!(frames.passable(&close[..3]), 0);
        assert!(!frames.closed());
        assert_eq!(frames.passable(&close), 4);
        assert!(frames.closed());
    }
}
