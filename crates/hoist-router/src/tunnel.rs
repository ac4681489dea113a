//! An upgraded connection: bytes both ways until one side ends.

use bytes::Bytes;
use http::HeaderValue;
use tokio::net::TcpStream;

use crate::table::InTunnel;
use crate::upstream::Connection;
use crate::worker::Worker;

/// A process's half of a connection that switched its protocol.
pub(crate) struct Tunnel {
    connection: Connection,
    websocket: bool,
    _counted: InTunnel,
}

impl Tunnel {
    pub(crate) fn new(connection: Connection, protocol: &HeaderValue, counted: InTunnel) -> Self {
        let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        Self {
            connection,
            websocket,
            _counted: counted,
        }
    }

    /// Carries bytes until both sides ended; `early` is what the client sent before it knew.
    pub(crate) async fn run(self, mut client: TcpStream, early: Bytes, _worker: &Worker) {
        use tokio::io::AsyncWriteExt;
        let _ = self.websocket;
        let (mut process, read) = self.connection.into_parts();
        let begun = async {
            client.write_all(&read).await?;
            process.write_all(&early).await
        };
        if begun.await.is_ok() {
            let _ = tokio::io::copy_bidirectional(&mut client, &mut process).await;
        }
    }
}
