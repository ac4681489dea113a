//! An upgraded connection: bytes both ways until one side ends, and then an end that the client understands.
//!
//! A WebSocket is never cut: when its process ends without a close, or the router ends, the client gets a close frame
//! between two frames of the process, and time to answer it. Leaving the route does not end a tunnel; its process does.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::table::InTunnel;
use crate::upstream::Connection;
use crate::websocket::{Frames, GOING_AWAY, SERVICE_RESTART, close_frame};
use crate::worker::{LINGER, Worker, linger};

/// How long one side may go on once the other has said that it ended.
const HALF_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 4 << 10;

/// A process's half of a connection that switched its protocol.
pub(crate) struct Tunnel {
    connection: Connection,
    websocket: bool,
    _counted: InTunnel,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The process closed its side, or is gone.
    Process,
    /// The client is gone.
    Client,
    /// The router ends.
    Router,
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

    /// Carries bytes until it ends; `early` is what the client sent before it knew of the switch.
    pub(crate) async fn run(self, mut client: TcpStream, early: Bytes, worker: &Worker) {
        let (mut process, read) = self.connection.into_parts();
        let mut frames = self.websocket.then(Frames::default);
        let end = {
            let (client_read, client_write) = client.split();
            let (process_read, process_write) = process.split();
            let closing = pin!(worker.closing());
            let up = pin!(carry_up(early, client_read, process_write));
            let down = pin!(carry_down(
                read,
                process_read,
                client_write,
                &mut frames,
                closing
            ));
            until_end(up, down).await
        };
        let code = match end {
            End::Process => SERVICE_RESTART,
            End::Router => GOING_AWAY,
            End::Client => return,
        };
        if frames.is_some_and(|frames| frames.at_boundary() && !frames.closed())
            && client.write_all(&close_frame(code)).await.is_err()
        {
            return;
        }
        if end == End::Router {
            // The client's own close is the process's to see.
            let _ = timeout(LINGER, copy(&mut client, &mut process)).await;
        }
        linger(client).await;
    }
}

/// Waits until the tunnel has ended. A side that has said that it ends gives the other a while.
async fn until_end(
    mut up: Pin<&mut impl Future<Output = Option<End>>>,
    mut down: Pin<&mut impl Future<Output = End>>,
) -> End {
    tokio::select! {
        end = &mut down => return end,
        end = &mut up => if let Some(end) = end {
            return end;
        },
    }
    tokio::select! {
        end = &mut down => end,
        () = sleep_until(Instant::now() + HALF_LIMIT) => End::Process,
    }
}

/// Carries what the client sends. None when that has ended in order and the process may go on.
async fn carry_up(
    early: Bytes,
    mut client: impl AsyncRead + Unpin,
    mut process: impl AsyncWrite + Unpin,
) -> Option<End> {
    let mut buffer = BytesMut::from(&early[..]);
    drop(early);
    loop {
        // A process that does not read any more may still have something to say: its own end decides.
        if !buffer.is_empty() && process.write_all(&buffer).await.is_err() {
            return None;
        }
        buffer.clear();
        buffer.reserve(READ_BYTES);
        match client.read_buf(&mut buffer).await {
            Ok(0) => {
                let _ = process.shutdown().await;
                return None;
            }
            Ok(_) => {}
            Err(_) => return Some(End::Client),
        }
    }
}

/// Carries what the process sends, in whole frames where the protocol has them.
async fn carry_down(
    mut buffer: BytesMut,
    mut process: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    frames: &mut Option<Frames>,
    mut closing: Pin<&mut impl Future<Output = ()>>,
) -> End {
    let mut ending = false;
    loop {
        let pass = frames
            .as_mut()
            .map_or(buffer.len(), |frames| frames.passable(&buffer));
        if pass > 0 && client.write_all(&buffer.split_to(pass)).await.is_err() {
            return End::Client;
        }
        // Other protocols have no close that could be written for them: they run until the router's limit.
        if ending && frames.as_ref().is_some_and(Frames::at_boundary) {
            return End::Router;
        }
        buffer.reserve(READ_BYTES);
        let read: io::Result<usize> = tokio::select! {
            read = process.read_buf(&mut buffer) => read,
            () = &mut closing, if !ending => {
                ending = true;
                continue;
            }
        };
        if matches!(read, Ok(0) | Err(_)) {
            return End::Process;
        }
    }
}
