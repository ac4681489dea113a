//! The words of RFC 6455 that turn a request into a WebSocket.

use sha1::{Digest, Sha1};

/// The protocol's version, in `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";

/// What `Sec-WebSocket-Accept` answers to this `Sec-WebSocket-Key`.
pub fn accept_of(key: &str) -> String {
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&digest.finalize())
}

/// A key for one request.
pub fn new_key() -> String {
    let mut bytes = [0; 16];
    // A key that is not unique shows a cache between client and rack less surely, and there is none.
    let _ = getrandom::fill(&mut bytes);
    base64(&bytes)
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for at in 0..4 {
            let six = bits >> (18 - 6 * at) & 63;
            let letter = char::from(ALPHABET[six as usize]);
            text.push(if at <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let accept = accept_of("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_of_every_length() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(new_key().len(), 24);
        assert_ne!(new_key(), new_key());
    }
}
