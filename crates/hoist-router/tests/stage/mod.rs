//! The stage of the router's tests: a router as a process of its own, apps as real servers, raw clients.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hoist_core::id::{SlotId, Version, WorkloadId};
use hoist_core::model::{Endpoint, Millis, RouteTable, RouteTarget, ServiceRoute};
use hoist_router::control::{ControlError, RouterClient, RouterReport};
use hoist_router::{RouterConfig, router_main};

/// Not a test: the router's process, which the tests start by running themselves again.
#[test]
#[ignore = "the router's process, started by the tests"]
fn router_process() {
    let Ok(dir) = std::env::var("ROUTER_TEST_DIR") else {
        return;
    };
    let listen = std::env::var("ROUTER_TEST_LISTEN")
        .unwrap()
        .parse()
        .unwrap();
    let config = RouterConfig {
        listen,
        dir: dir.into(),
        threads: 2,
    };
    router_main(config).unwrap();
}

/// A router in a process of its own.
pub(crate) struct Router {
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    pub(crate) child: Child,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Router {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_on(dir, free_address())
    }

    pub(crate) fn start_on(dir: &Path, address: SocketAddr) -> Self {
        let child = spawn(dir, address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let router = Self {
            address,
            dir: dir.to_owned(),
            child,
            runtime,
        };
        let pid = router.child.id();
        until("the router answers", || {
            router.report().is_ok_and(|report| report.pid == pid)
        });
        router
    }

    pub(crate) fn publish(&self, table: &RouteTable) -> Result<RouterReport, ControlError> {
        self.runtime
            .block_on(RouterClient::new(&self.dir).publish(table))
    }

    pub(crate) fn report(&self) -> Result<RouterReport, ControlError> {
        self.runtime.block_on(RouterClient::new(&self.dir).report())
    }

    pub(crate) fn stop(&self) -> Result<RouterReport, ControlError> {
        self.runtime.block_on(RouterClient::new(&self.dir).stop())
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub(crate) fn in_flight(&self, slot: &SlotId) -> u32 {
        self.report()
            .unwrap()
            .in_flight
            .get(slot)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.address).unwrap())
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        let mut wire = self.connect();
        wire.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ));
        wire.answer()
    }
}

pub(crate) fn spawn(dir: &Path, address: SocketAddr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "stage::router_process",
            "--ignored",
            "--nocapture",
        ])
        .env("ROUTER_TEST_DIR", dir)
        .env("ROUTER_TEST_LISTEN", address.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "waited too long until {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn slot(attempt: u64, slot: u16) -> SlotId {
    let workload = WorkloadId {
        app: "app".parse().unwrap(),
        service: "web".parse().unwrap(),
        attempt: Version {
            epoch: 1,
            number: attempt,
        },
    };
    SlotId { workload, slot }
}

/// A table with one service, `app.localhost`.
pub(crate) fn table(number: u64, target: RouteTarget) -> RouteTable {
    let key = ("app".parse().unwrap(), "web".parse().unwrap());
    let route = ServiceRoute {
        target,
        timeout: Millis::from_secs(10),
        body_bytes_max: 0,
        access_log: None,
    };
    RouteTable {
        version: Version { epoch: 1, number },
        hosts: BTreeMap::from([("app.localhost".to_owned(), key.clone())]),
        services: BTreeMap::from([(key, route)]),
    }
}

pub(crate) fn to(endpoints: &[(SlotId, SocketAddr)]) -> RouteTarget {
    let endpoint = |(slot, address): &(SlotId, SocketAddr)| Endpoint {
        slot: slot.clone(),
        address: *address,
    };
    RouteTarget::Processes(endpoints.iter().map(endpoint).collect())
}

pub(crate) fn route(table: &mut RouteTable) -> &mut ServiceRoute {
    table.services.values_mut().next().unwrap()
}

/// One connection, read and written as text.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).map(|()| bytes)
    }

    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            head += &line;
            head.push('\n');
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        Ok(Answer {
            status,
            head,
            body: Vec::new(),
        })
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let data = self.read(size)?;
        self.line()?;
        Ok(data)
    }

    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if let Some(length) = answer.header("content-length") {
            answer.body = self.read(length.parse().unwrap())?;
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            }
        }
        Ok(answer)
    }
}

/// A request as an app got it.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }
}

/// An app that listens; its connections are served by threads.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// Connections that it accepted.
    pub(crate) accepted: Arc<AtomicUsize>,
}

impl App {
    /// Gives every connection to `serve`.
    pub(crate) fn raw(serve: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (accepted.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || serve(Wire::new(stream.unwrap())));
            }
        });
        Self { address, accepted }
    }

    /// Answers each request with 200 and what `answer` makes of it, over connections that stay.
    pub(crate) fn new(answer: impl Fn(Asked) -> String + Send + Sync + 'static) -> Self {
        Self::raw(move |mut wire| {
            while let Ok(asked) = wire.asked() {
                let body = answer(asked);
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                if wire.stream.write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Wire {
    /// Reads a request, as an app.
    pub(crate) fn asked(&mut self) -> io::Result<Asked> {
        let read = self.try_answer()?;
        Ok(Asked {
            head: read.head,
            body: read.body,
        })
    }
}
