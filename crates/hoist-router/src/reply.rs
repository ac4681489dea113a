//! What goes back to a client: the body in its three forms, and the record that a request leaves behind.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri};
use http_body::{Body, Frame, SizeHint};

use crate::access::{Sink, unix_ms};
use crate::headers::RequestId;
use crate::table::InFlight;
use crate::upstream::Download;
use crate::worker::Worker;

/// An answer to a client.
pub(crate) type Reply = Response<ReplyBody>;
/// The error of a service that always answers.
pub(crate) type Never = Infallible;

/// The body of an answer to a client. The request counts as in flight until it is dropped.
pub(crate) struct ReplyBody {
    content: Content,
    record: Option<Box<Record>>,
}

pub(crate) enum Content {
    Empty,
    Whole(Bytes),
    Stream(Box<Download>),
}

impl ReplyBody {
    pub(crate) fn new(content: Content, record: Option<Box<Record>>) -> Self {
        Self { content, record }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Empty;
                Poll::Ready(Some(Ok(bytes)))
            }
            Content::Stream(download) => download.poll_data(cx),
        };
        if let (Poll::Ready(Some(Ok(data))), Some(record)) = (&next, &mut self.record) {
            record.bytes += data.len() as u64;
        }
        next.map(|data| data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(_) => false,
            Content::Stream(download) => download.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(download) => download
                .length()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// What is known of a request for its access line, written when the record is dropped: at the end of the answer's body,
/// or when the client goes away.
pub(crate) struct Record {
    pub(crate) worker: Rc<Worker>,
    pub(crate) sink: Option<Arc<Sink>>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) host: HeaderValue,
    pub(crate) request_id: RequestId,
    pub(crate) began: Instant,
    /// 499 until there is an answer: the client went away before.
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    /// The slot that works on it, while one does.
    pub(crate) in_flight: Option<InFlight>,
}

/// The status of a request whose client went away before its answer.
pub(crate) const CLIENT_WENT_AWAY: u16 = 499;

impl Drop for Record {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let worker = self.worker.clone();
        worker
            .journal
            .line(&sink, worker.index, |line| self.write(line));
    }
}

impl Record {
    /// `<unix ms> o <METHOD> <path> <status> <bytes> <ms>ms host=… request_id=…`. Without the query: it holds secrets.
    fn write(&self, line: &mut Vec<u8>) {
        number(line, unix_ms() as u64);
        line.extend_from_slice(b" o ");
        line.extend_from_slice(self.method.as_str().as_bytes());
        line.push(b' ');
        text(line, self.uri.path().as_bytes());
        line.push(b' ');
        number(line, self.status.into());
        line.push(b' ');
        number(line, self.bytes);
        line.push(b' ');
        number(line, self.began.elapsed().as_millis() as u64);
        line.extend_from_slice(b"ms host=");
        text(line, self.host.as_bytes());
        line.extend_from_slice(b" request_id=");
        line.extend_from_slice(self.request_id.as_bytes());
    }
}

/// Longest path or host in a line.
const TEXT_BYTES_MAX: usize = 1024;

/// Appends what clients sent so that it stays one word of one line.
fn text(line: &mut Vec<u8>, text: &[u8]) {
    let kept = &text[..text.len().min(TEXT_BYTES_MAX)];
    line.extend(kept.iter().map(|byte| {
        if byte.is_ascii_graphic() || *byte >= 0x80 {
            *byte
        } else {
            b'?'
        }
    }));
}

fn number(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}
