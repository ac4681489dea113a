//! HTTP/1.1 towards processes: connections with exact knowledge of what was sent and what was not.
//!
//! Our own rather than hyper's client, because two promises hang on it: a request of which nothing was sent may go
//! elsewhere, and a connection that its process closed just now must not become an error. It also costs no task, no
//! channel and no copy per request: a connection is driven by the request that uses it.

mod answer;
mod chunked;
mod download;
mod outgoing;
mod pool;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hoist_core::limits;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

pub(crate) use answer::{Answer, Framing};
pub(crate) use download::Download;
pub(crate) use outgoing::{Outgoing, RequestHead, Upload};
pub(crate) use pool::Pool;

/// How long a process may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_millis(limits::CONNECT_LIMIT.0);
/// Bytes asked for with one read; grows while reads fill it.
const READ_BYTES: usize = 8 << 10;
const READ_BYTES_LARGE: usize = 64 << 10;

/// One connection to a process.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    /// Whether it has carried a request before: the process may be closing it right now.
    reused: bool,
    full_reads: u32,
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Not one byte of the request was sent.
    Unsent,
    /// The connection ended after the request had begun to leave and before any byte of an answer.
    NoAnswer,
    /// The process answered, but not in HTTP.
    BadAnswer,
    /// The process did not answer in time.
    Late,
    /// The client did not send its body in time.
    ClientLate,
    /// The client's body ended early.
    ClientGone,
    /// The client's body is larger than allowed.
    TooLarge,
}

impl Connection {
    /// Connects to a process.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            reused: false,
            full_reads: 0,
        })
    }

    /// Whether it came from the pool.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends a request and reads the head of its answer; what is left of the request keeps its place in `out`.
    pub(crate) async fn exchange(
        &mut self,
        out: &mut Outgoing,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut alarm: Option<Pin<Box<Sleep>>> = None;
        let mut progress = 0;
        poll_fn(|cx| {
            let sending = out.poll_send(&mut self.stream, cx);
            if let Poll::Ready(Err(failure)) = &sending
                && let Some(failure) = failure.of_client()
            {
                return Poll::Ready(Err(failure));
            }
            // A process may answer before it has read everything, and close: its answer counts, not our broken pipe.
            match self.poll_answer(cx, out.is_head()) {
                Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(out.blame(failure))),
                Poll::Pending if matches!(sending, Poll::Ready(Err(_))) => {
                    return Poll::Ready(Err(out.blame(Failure::NoAnswer)));
                }
                Poll::Pending => {}
            }
            let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if progress != out.sent() {
                progress = out.sent();
                alarm.as_mut().reset(Instant::now() + limit);
            }
            ready!(alarm.as_mut().poll(cx));
            Poll::Ready(Err(if out.waits_for_client() {
                Failure::ClientLate
            } else {
                Failure::Late
            }))
        })
        .await
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head_request: bool,
    ) -> Poll<Result<Answer, Failure>> {
        loop {
            if !self.buffer.is_empty() {
                match answer::take(&mut self.buffer, head_request) {
                    Ok(Some(answer)) if answer.is_interim() => continue,
                    Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                    Ok(None) => {}
                    Err(answer::Malformed) => return Poll::Ready(Err(Failure::BadAnswer)),
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) if self.buffer.is_empty() => {
                    return Poll::Ready(Err(Failure::NoAnswer));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::BadAnswer)),
                Ok(_) => {}
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = if self.full_reads > 1 {
            READ_BYTES_LARGE
        } else {
            READ_BYTES
        };
        if self.buffer.capacity() - self.buffer.len() < wanted / 2 {
            self.buffer.reserve(wanted);
        }
        let space = self.buffer.capacity() - self.buffer.len();
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.buffer
        ));
        if let Ok(bytes) = read {
            self.full_reads = if bytes == space {
                self.full_reads + 1
            } else {
                0
            };
        }
        Poll::Ready(read)
    }

    /// Whether the process has closed it or sent what nobody asked for, as far as the runtime has heard.
    fn is_stale(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.buffer.clear();
        self.buffer.reserve(1);
        poll_read_buf(Pin::new(&mut self.stream), &mut cx, &mut self.buffer).is_ready()
    }

    /// The same, asked of the kernel: what closed a moment ago is seen. Costs a system call.
    fn is_stale_now(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&self.stream).peek(&mut byte);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The bare stream and what was read of it beyond the answer's head.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.buffer)
    }

    /// Takes exactly `length` bytes if they have all arrived.
    pub(crate) fn take_whole(&mut self, length: u64) -> Option<bytes::Bytes> {
        let length = usize::try_from(length).ok()?;
        (self.buffer.len() >= length).then(|| self.buffer.split_to(length).freeze())
    }
}
