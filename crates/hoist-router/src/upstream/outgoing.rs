//! A request on its way to a process: its head, what has arrived of its body, and how much of it has left.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::Failure;

/// A request's head as it goes over the wire.
pub(crate) struct RequestHead {
    pub(crate) bytes: Vec<u8>,
    /// A `HEAD` request: its answer has no body, whatever its headers say.
    pub(crate) is_head: bool,
}

/// The body of a request.
pub(crate) struct Upload {
    body: Incoming,
    chunked: bool,
    left: u64,
    ended: bool,
}

impl Upload {
    /// `most` bytes may pass.
    pub(crate) fn new(body: Incoming, chunked: bool, most: u64) -> Self {
        Self {
            body,
            chunked,
            left: most,
            ended: false,
        }
    }
}

/// A request on its way.
pub(crate) struct Outgoing {
    head: RequestHead,
    head_sent: usize,
    upload: Option<Upload>,
    /// What goes before, of and after the piece of the body that is leaving.
    before: String,
    piece: Bytes,
    after: &'static [u8],
    before_sent: usize,
    sent: u64,
}

/// Why sending stopped.
pub(super) enum SendFailure {
    Process,
    Client(hyper::Error),
    TooLarge,
}

impl SendFailure {
    /// The failure, unless it is the process's.
    pub(super) fn of_client(&self) -> Option<Failure> {
        match self {
            Self::Process => None,
            Self::Client(error) => {
                tracing::debug!(%error, "the client's body ended early");
                Some(Failure::ClientGone)
            }
            Self::TooLarge => Some(Failure::TooLarge),
        }
    }
}

impl Outgoing {
    pub(crate) fn new(head: RequestHead, upload: Option<Upload>) -> Self {
        Self {
            head,
            head_sent: 0,
            upload,
            before: String::new(),
            piece: Bytes::new(),
            after: b"",
            before_sent: 0,
            sent: 0,
        }
    }

    /// Bytes that left.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_head(&self) -> bool {
        self.head.is_head
    }

    pub(crate) fn has_body(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether all of it has left.
    pub(crate) fn is_done(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.ended) && !self.has_bytes()
    }

    /// Begins anew on another connection. Only a request without a body can.
    pub(crate) fn rewind(&mut self) {
        self.head_sent = 0;
        self.sent = 0;
    }

    pub(super) fn waits_for_client(&self) -> bool {
        !self.is_done() && !self.has_bytes()
    }

    /// What a broken connection means, given what has left.
    pub(super) fn blame(&self, failure: Failure) -> Failure {
        match failure {
            Failure::NoAnswer if self.sent == 0 => Failure::Unsent,
            other => other,
        }
    }

    fn has_bytes(&self) -> bool {
        self.head_sent < self.head.bytes.len()
            || self.before_sent < self.before.len()
            || !self.piece.is_empty()
            || !self.after.is_empty()
    }

    /// Sends what can be sent; ready when all of it has left.
    pub(super) fn poll_send(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendFailure>> {
        loop {
            // The body's first piece is asked for before the head leaves, so that both can leave together.
            let arrived = if self.has_piece() {
                Poll::Ready(Ok(()))
            } else {
                self.poll_piece(cx)
            };
            if let Poll::Ready(Err(failure)) = arrived {
                return Poll::Ready(Err(failure));
            }
            if !self.has_bytes() {
                return arrived;
            }
            match ready!(self.poll_write(stream, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(SendFailure::Process)),
                Ok(bytes) => self.advance(bytes),
            }
        }
    }

    fn has_piece(&self) -> bool {
        self.before_sent < self.before.len() || !self.piece.is_empty() || !self.after.is_empty()
    }

    /// Waits for the body's next piece; ready without one when the body has ended.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFailure>> {
        let Some(upload) = self.upload.as_mut().filter(|upload| !upload.ended) else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut upload.body).poll_frame(cx)) else {
                upload.ended = true;
                self.after = if upload.chunked { b"0\r\n\r\n" } else { b"" };
                return Poll::Ready(Ok(()));
            };
            // Trailers are not passed on: hardly a process reads them, and they are a way past header rules.
            let Ok(data) = frame.map_err(SendFailure::Client)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            let length = data.len() as u64;
            upload.left = upload
                .left
                .checked_sub(length)
                .ok_or(SendFailure::TooLarge)?;
            self.before.clear();
            self.before_sent = 0;
            self.piece = data;
            if upload.chunked {
                // Writing to a string cannot fail.
                let _ = write!(self.before, "{length:x}\r\n");
                self.after = b"\r\n";
            }
            return Poll::Ready(Ok(()));
        }
    }

    fn poll_write(&self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.head.bytes[self.head_sent..];
        if !self.has_piece() {
            return Pin::new(stream).poll_write(cx, head);
        }
        let before = &self.before.as_bytes()[self.before_sent..];
        let parts = [head, before, &self.piece, self.after].map(IoSlice::new);
        Pin::new(stream).poll_write_vectored(cx, &parts)
    }

    fn advance(&mut self, mut bytes: usize) {
        self.sent += bytes as u64;
        let mut take = |most: usize| {
            let taken = bytes.min(most);
            bytes -= taken;
            taken
        };
        self.head_sent += take(self.head.bytes.len() - self.head_sent);
        self.before_sent += take(self.before.len() - self.before_sent);
        self.piece.advance(take(self.piece.len()));
        self.after = &self.after[take(self.after.len())..];
    }
}
