//! The client's side of a WebSocket, as much as tests need: handshake, short text messages, and how it was closed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::app::accept_of;
use super::http::Conn;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    conn: Conn,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Text(String),
    /// The other side says good-bye, with this code.
    Close(u16),
}

impl WebSocket {
    /// Shakes hands.
    pub fn open(address: SocketAddr, host: &str) -> io::Result<Self> {
        let mut conn = Conn::open(address)?;
        conn.send(
            format!(
                "GET /ws HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let answer = conn.answer()?;
        if answer.status != 101 || answer.header("sec-websocket-accept") != Some(&accept_of(KEY)) {
            return Err(io::Error::other(format!(
                "no handshake: {} {}",
                answer.status,
                answer.text()
            )));
        }
        conn.patience(Duration::from_secs(10))?;
        Ok(Self { conn })
    }

    /// Sends a message of at most 125 bytes.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.frame(TEXT, text.as_bytes())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        const MASK: [u8; 4] = [7, 77, 17, 71];
        let mut frame = vec![0x80 | kind, 0x80 | payload.len() as u8];
        frame.extend(MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.conn.send(&frame)
    }

    /// The next message, or the close; a close is answered.
    pub fn hear(&mut self) -> io::Result<Frame> {
        let head = self.conn.exactly(2)?;
        let length = usize::from(head[1] & 0x7f);
        let payload = self.conn.exactly(length)?;
        match head[0] & 0x0f {
            TEXT => Ok(Frame::Text(String::from_utf8_lossy(&payload).into_owned())),
            CLOSE => {
                let code = payload
                    .first_chunk::<2>()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                // Whether it still hears that does not matter.
                let _ = self.frame(CLOSE, &code.to_be_bytes());
                Ok(Frame::Close(code))
            }
            other => Err(io::Error::other(format!("a frame of kind {other}"))),
        }
    }
}
