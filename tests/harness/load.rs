//! Constant load on one app, and the count of every request that was lost.
//!
//! Clients are strict: they never retry. The one thing they forgive is a kept connection that was closed while nothing was
//! asked. A WebSocket must be closed in words (1001 or 1012) and take the next handshake at once.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{Answer, Conn};
use super::websocket::{Frame, WebSocket};

/// How many clients of each kind, and where they go.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The router.
    pub router: SocketAddr,
    /// The app's host.
    pub host: String,
    /// Clients that keep their connection.
    pub kept: usize,
    /// Clients with a connection per request; every other request is a POST, which nobody may repeat.
    pub fresh: usize,
    /// Clients whose requests take 300 ms.
    pub slow: usize,
    /// Clients that talk over a WebSocket.
    pub sockets: usize,
    /// The pause after each request.
    pub pause: Duration,
}

impl Clients {
    /// A few of each kind.
    pub fn mixed(router: SocketAddr, host: &str) -> Self {
        Self {
            router,
            host: host.to_owned(),
            kept: 2,
            fresh: 1,
            slow: 1,
            sockets: 1,
            pause: Duration::from_millis(8),
        }
    }
}

/// What the clients met so far.
#[derive(Debug, Default)]
pub struct Tally {
    answered: AtomicU64,
    echoed: AtomicU64,
    closed: AtomicU64,
    lost: Mutex<Vec<String>>,
    slowest_us: AtomicU64,
}

/// What the clients met in all.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests answered as they should be.
    pub answered: u64,
    /// WebSocket messages that came back.
    pub echoed: u64,
    /// WebSockets closed in words.
    pub closed: u64,
    /// Every loss: when, which client, what happened.
    pub lost: Vec<String>,
    /// The longest that a plain request took, waits of slow ones aside.
    pub slowest: Duration,
}

/// Load that goes on until it is ended.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts all clients.
    pub fn start(clients: &Clients) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            tally: Arc::default(),
            threads: Vec::new(),
        };
        type Kind = (usize, fn(&Client));
        let kinds: [Kind; 4] = [
            (clients.kept, Client::keep),
            (clients.fresh, Client::renew),
            (clients.slow, Client::dawdle),
            (clients.sockets, Client::talk),
        ];
        let began = Instant::now();
        for (count, run) in kinds {
            for _ in 0..count {
                let client = Client {
                    clients: clients.clone(),
                    stop: Arc::clone(&load.stop),
                    tally: Arc::clone(&load.tally),
                    began,
                };
                load.threads.push(std::thread::spawn(move || run(&client)));
            }
        }
        load
    }

    /// How many losses there are so far.
    pub fn lost(&self) -> usize {
        lock(&self.tally.lost).len()
    }

    /// WebSockets closed in words so far.
    pub fn closed(&self) -> u64 {
        self.tally.closed.load(Ordering::Relaxed)
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.tally.answered.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it has begun.
    pub fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                lock(&self.tally.lost).push("a client panicked".to_owned());
            }
        }
        let tally = &self.tally;
        Outcome {
            answered: tally.answered.load(Ordering::Relaxed),
            echoed: tally.echoed.load(Ordering::Relaxed),
            closed: tally.closed.load(Ordering::Relaxed),
            lost: lock(&tally.lost).clone(),
            slowest: Duration::from_micros(tally.slowest_us.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Client {
    clients: Clients,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    began: Instant,
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn lose(&self, who: &str, what: &dyn std::fmt::Display) {
        let at = self.began.elapsed().as_secs_f64();
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let loss = format!("{at:.3} s ({}): {who}: {what}", clock.as_millis());
        lock(&self.tally.lost).push(loss);
        // A client in trouble does not make thousands of losses of one.
        std::thread::sleep(Duration::from_millis(50));
    }

    /// Counts one request. Answers whether the connection may be used again.
    fn count(
        &self,
        who: &str,
        began: Instant,
        answer: io::Result<Answer>,
        waits: Duration,
    ) -> bool {
        match answer {
            Ok(answer) if answer.status == 200 && answer.text().ends_with("bytes\n") => {
                self.tally.answered.fetch_add(1, Ordering::Relaxed);
                let took = began.elapsed().saturating_sub(waits).as_micros() as u64;
                self.tally.slowest_us.fetch_max(took, Ordering::Relaxed);
                !answer
                    .header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close"))
            }
            Ok(answer) => {
                let first = answer.text().lines().next().unwrap_or_default().to_owned();
                self.lose(who, &format!("answered {} {first}", answer.status));
                false
            }
            Err(error) => {
                self.lose(who, &error);
                false
            }
        }
    }

    fn keep(&self) {
        let mut kept: Option<Conn> = None;
        while self.goes_on() {
            let began = Instant::now();
            let conn = match kept.take().filter(|conn| !conn.is_closed()) {
                Some(conn) => Ok(conn),
                None => Conn::open(self.clients.router),
            };
            let answer = conn
                .and_then(|mut conn| Ok((conn.ask("GET", &self.clients.host, "/", b"")?, conn)));
            let (answer, conn) = match answer {
                Ok((answer, conn)) => (Ok(answer), Some(conn)),
                Err(error) => (Err(error), None),
            };
            kept = if self.count("kept connection", began, answer, Duration::ZERO) {
                conn
            } else {
                None
            };
            std::thread::sleep(self.clients.pause);
        }
    }

    fn renew(&self) {
        for n in 0_u64.. {
            if !self.goes_on() {
                return;
            }
            let (method, body): (_, &[u8]) = if n.is_multiple_of(2) {
                ("GET", b"")
            } else {
                ("POST", b"a body of some bytes")
            };
            let began = Instant::now();
            let answer = Conn::open(self.clients.router)
                .and_then(|mut conn| conn.ask(method, &self.clients.host, "/", body));
            self.count(method, began, answer, Duration::ZERO);
            std::thread::sleep(self.clients.pause);
        }
    }

    fn dawdle(&self) {
        const WAIT: Duration = Duration::from_millis(300);
        let path = format!("/slow?ms={}", WAIT.as_millis());
        while self.goes_on() {
            let began = Instant::now();
            let answer = Conn::open(self.clients.router)
                .and_then(|mut conn| conn.ask("GET", &self.clients.host, &path, b""));
            self.count("slow request", began, answer, WAIT);
        }
    }

    fn talk(&self) {
        while self.goes_on() {
            let mut socket = match WebSocket::open(self.clients.router, &self.clients.host) {
                Ok(socket) => socket,
                Err(error) => {
                    self.lose("WebSocket handshake", &error);
                    continue;
                }
            };
            while self.goes_on() {
                let heard = socket.say("hello").and_then(|()| socket.hear());
                match heard {
                    Ok(Frame::Text(text)) if text == "hello" => {
                        self.tally.echoed.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Frame::Close(1001 | 1012)) => {
                        self.tally.closed.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    // What was said may cross the close and meet a closed door; the close is what counts.
                    Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe) => {
                        match socket.hear() {
                            Ok(Frame::Close(1001 | 1012)) => {
                                self.tally.closed.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            other => {
                                self.lose("WebSocket", &format!("{error}, then {other:?}"));
                                break;
                            }
                        }
                    }
                    other => {
                        self.lose("WebSocket", &format!("{other:?}"));
                        break;
                    }
                }
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    }
}
