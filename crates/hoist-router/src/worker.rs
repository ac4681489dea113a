//! One thread that serves connections: its own runtime, its own pool, nothing shared on the way of a request but the
//! table and the counts.

use std::cell::{Cell, Ref, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hoist_core::limits;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::access::Journal;
use crate::forward;
use crate::headers::{Peer, host_key};
use crate::table::{Live, Routes, Service};
use crate::tunnel::Tunnel;
use crate::upstream::Pool;

/// How long a client may take for the head of a request, the idle time before it included.
const HEAD_LIMIT: Duration = Duration::from_millis(limits::REQUEST_HEAD_LIMIT.0);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of one connection in memory, each way.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// How long requests may take to end once the router ends.
const END_LIMIT: Duration = Duration::from_secs(30);
/// How long idle connections stay open once the router ends, so that busy ones are told with an answer instead.
const END_PAUSE: Duration = Duration::from_millis(300);
/// How long a client may take to read an answer that came before all of its request was read.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// What every HTTP/2 connection begins with.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a worker is told.
pub(crate) enum Task {
    /// Serve this connection.
    Serve(std::net::TcpStream, SocketAddr),
    /// Finish what is in flight and end.
    End,
}

/// Counters of one worker, read by reports.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) open: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
}

/// One thread's share of the router.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) routes: Arc<Routes>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) pool: Rc<Pool>,
    /// The port that clients connect to, as it goes into headers.
    pub(crate) port: String,
    totals: Arc<Totals>,
    live: RefCell<Arc<Live>>,
    space: RefCell<Vec<u8>>,
    random: Cell<[u64; 2]>,
    ending: Cell<bool>,
    closing: Cell<bool>,
    close: Notify,
    closed: Notify,
}

/// One client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: Peer,
    /// Set when the connection is to become a tunnel after the answer that was just given.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        port: u16,
        routes: Arc<Routes>,
        journal: Arc<Journal>,
        totals: Arc<Totals>,
    ) -> Self {
        let live = RefCell::new(routes.newest());
        Self {
            index,
            routes,
            journal,
            pool: Rc::new(Pool::default()),
            port: port.to_string(),
            totals,
            live,
            space: RefCell::default(),
            random: Cell::new([seed(), seed() | 1]),
            ending: Cell::new(false),
            closing: Cell::new(false),
            close: Notify::new(),
            closed: Notify::new(),
        }
    }

    /// Serves what arrives until told to end, then finishes what is in flight. The body of the worker's thread, inside
    /// its runtime.
    pub(crate) async fn run(self: Rc<Self>, mut tasks: mpsc::Receiver<Task>) {
        let pool = self.pool.clone();
        let sweeper = tokio::task::spawn_local(async move { pool.sweep().await });
        let mut changed = self.routes.subscribe();
        loop {
            tokio::select! {
                task = tasks.recv() => match task {
                    Some(Task::Serve(stream, peer)) => self.clone().accept(stream, peer),
                    Some(Task::End) | None => break,
                },
                _ = changed.changed() => {
                    self.live();
                    self.pool.forget_retired();
                }
            }
        }
        self.end().await;
        sweeper.abort();
    }

    async fn end(&self) {
        self.ending.set(true);
        if self.totals.open.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(END_PAUSE).await;
        }
        self.closing.set(true);
        self.close.notify_waiters();
        let ended = async {
            loop {
                let closed = self.closed.notified();
                if self.totals.open.load(Ordering::Relaxed) == 0 {
                    return;
                }
                closed.await;
            }
        };
        if timeout(END_LIMIT, ended).await.is_err() {
            let open = self.totals.open.load(Ordering::Relaxed);
            tracing::warn!(open, "closing connections that did not end in time");
        }
    }

    /// Whether the router is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// Ends when connections are to be closed as soon as they can be.
    pub(crate) async fn closing(&self) {
        let close = self.close.notified();
        if !self.closing.get() {
            close.await;
        }
    }

    pub(crate) fn count_request(&self) {
        // One writer: a plain add is enough.
        let requests = &self.totals.requests;
        requests.store(requests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The newest table.
    pub(crate) fn live(&self) -> Ref<'_, Live> {
        self.routes.refresh(&mut self.live.borrow_mut());
        Ref::map(self.live.borrow(), |live| &**live)
    }

    /// The service that a host reaches in a table.
    pub(crate) fn service_in<'a>(
        &self,
        live: &'a Live,
        authority: &[u8],
    ) -> Option<&'a Arc<Service>> {
        let mut space = self.space.borrow_mut();
        host_key(authority, &mut space)?;
        live.service(std::str::from_utf8(&space).ok()?)
    }

    /// The service that a host reaches now.
    pub(crate) fn service(&self, authority: &[u8]) -> Option<Arc<Service>> {
        self.service_in(&self.live(), authority).cloned()
    }

    /// 128 bits that name a request; unique, not secret.
    pub(crate) fn random(&self) -> [u64; 2] {
        // xoroshiro128+ for the first word, its state for the second.
        let [a, mut b] = self.random.get();
        let word = a.wrapping_add(b);
        b ^= a;
        self.random
            .set([a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)]);
        [word, a.wrapping_mul(0x9e37_79b9_7f4a_7c15)]
    }

    fn accept(self: Rc<Self>, stream: std::net::TcpStream, peer: SocketAddr) {
        let totals = &self.totals;
        totals.connections.store(
            totals.connections.load(Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
        tokio::task::spawn_local(async move {
            let _open = Open(self.clone());
            match TcpStream::from_std(stream) {
                Ok(stream) => self.serve(stream, peer).await,
                Err(error) => tracing::warn!(%error, "cannot serve a connection"),
            }
        });
    }

    async fn serve(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let client = Rc::new(Client {
            worker: self.clone(),
            peer: Peer::new(peer.ip()),
            tunnel: RefCell::default(),
        });
        let speaks_h2 = tokio::select! {
            first = timeout(HEAD_LIMIT, speaks_h2(&stream)) => first,
            () = self.closing() => return,
        };
        match speaks_h2 {
            Ok(Ok(true)) => self.serve_h2(client, stream).await,
            Ok(Ok(false)) => self.serve_h1(client, stream).await,
            Ok(Err(_)) | Err(_) => {}
        }
    }

    async fn serve_h1(&self, client: Rc<Client>, stream: TcpStream) {
        let service = {
            let client = client.clone();
            service_fn(move |request| forward::answer(client.clone(), request))
        };
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let served = self
            .drive(&mut connection, |connection| connection.graceful_shutdown())
            .await;
        if let Err(error) = &served {
            tracing::debug!(%error, "a connection ended");
        }
        let parts = connection.into_parts();
        let stream = parts.io.into_inner();
        match client.tunnel.take() {
            Some(tunnel) if served.is_ok() => tunnel.run(stream, parts.read_buf, self).await,
            _ => linger(stream).await,
        }
    }

    async fn serve_h2(&self, client: Rc<Client>, stream: TcpStream) {
        let service = service_fn(move |request| forward::answer(client.clone(), request));
        let mut connection = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self
            .drive(&mut connection, |connection| connection.graceful_shutdown())
            .await
        {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// Drives a connection to its end; tells it to end soon when the router does.
    async fn drive<C: Future + Unpin>(
        &self,
        connection: &mut C,
        end_soon: impl Fn(Pin<&mut C>),
    ) -> C::Output {
        let mut closing = pin!(self.closing());
        let (mut waits, mut told) = (false, false);
        poll_fn(|cx| {
            // The first poll has this task woken when the time comes; until then the flag says enough.
            if !told && (!waits || self.closing.get()) {
                waits = true;
                if closing.as_mut().poll(cx).is_ready() {
                    told = true;
                    end_soon(Pin::new(connection));
                }
            }
            Pin::new(&mut *connection).poll(cx)
        })
        .await
    }
}

/// Looks at a connection's first bytes without taking them.
async fn speaks_h2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; H2_PREFACE.len()];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            seen if first[..seen] != H2_PREFACE[..seen] => return Ok(false),
            seen if seen == first.len() => return Ok(true),
            // Nothing tells of more bytes behind those that were not taken.
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Closes a connection so that the last answer arrives: closing with unread bytes would reset it.
pub(crate) async fn linger(mut stream: TcpStream) {
    let mut rest = [0; 4096];
    if stream.shutdown().await.is_err() {
        return;
    }
    let _ = timeout(LINGER, async {
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    })
    .await;
}

/// A connection counted as open, until it is dropped.
struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.totals.open.fetch_sub(1, Ordering::Relaxed);
        self.0.closed.notify_waiters();
    }
}

/// Runs HTTP/2 streams beside their connection.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A random word from the seed that the standard library draws for its hash maps.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// A random number that names one life of the router; small enough for every JSON reader.
pub(crate) fn incarnation() -> u64 {
    (seed() >> 11).max(1)
}
