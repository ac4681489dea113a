//! No request is lost when tables switch, processes come and go, and a successor takes over.
//!
//! The apps here behave as the rack makes them behave: a process stops only after the router said that nothing is in
//! flight on it and that it is not routed, and a request that arrives at a stopped one is a failure of the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use hoist_core::model::RouteTarget;
use nix::sys::signal::Signal;
use stage::{App, Router, Wire, slot, table, to, until};

/// Clients that ask without pause and remember what failed.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// One connection for all requests.
    KeepAlive,
    /// One connection for each.
    Anew,
    /// Requests that take a while.
    Slow,
    /// Requests with a body, which no router may send twice.
    Post,
}

impl Manner {
    fn request(self, n: usize) -> String {
        let path = if matches!(self, Self::Slow) {
            "/slow"
        } else {
            "/"
        };
        let close = if matches!(self, Self::Anew) {
            "Connection: close\r\n"
        } else {
            ""
        };
        match self {
            Self::Post => {
                format!("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 6\r\n\r\n{n:06}")
            }
            _ => format!("GET {path} HTTP/1.1\r\nHost: app.localhost\r\n{close}\r\n"),
        }
    }
}

impl Load {
    fn start(router: &Router, manners: &[Manner]) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let address = router.address;
        let client = |manner: &Manner| {
            let (manner, stop, done) = (*manner, stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                let connect = || std::net::TcpStream::connect(address).map(Wire::new);
                let mut wire = connect().unwrap();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if matches!(manner, Manner::Anew) {
                        wire = connect().unwrap();
                    }
                    let asked =
                        std::io::Write::write_all(&mut wire.stream, manner.request(n).as_bytes());
                    match asked.and_then(|()| wire.try_answer()) {
                        Ok(answer) if answer.status == 200 => {
                            if answer.header("connection") == Some("close") {
                                wire = connect().unwrap();
                            }
                        }
                        other => {
                            lost.push(format!("{manner:?} {n}: {other:?}"));
                            wire = connect().unwrap();
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                lost
            })
        };
        let clients = manners.iter().map(client).collect();
        Self {
            stop,
            done,
            clients,
        }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    }
}

/// A process that can be stopped, after which every request is one too many.
fn process() -> (App, Arc<AtomicBool>) {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    let app = App::raw(move |mut wire| {
        while let Ok(asked) = wire.asked() {
            if asked.path() == "/slow" {
                sleep(Duration::from_millis(40));
            }
            if flag.load(Ordering::SeqCst) {
                wire.send("HTTP/1.1 500 Stopped\r\nContent-Length: 0\r\n\r\n");
            } else {
                let body = format!("{}{}", asked.path(), String::from_utf8_lossy(&asked.body));
                wire.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        }
    });
    (app, stopped)
}

const ALL: [Manner; 10] = [
    Manner::KeepAlive,
    Manner::KeepAlive,
    Manner::KeepAlive,
    Manner::Anew,
    Manner::Anew,
    Manner::Slow,
    Manner::Slow,
    Manner::Slow,
    Manner::Post,
    Manner::Post,
];

#[test]
fn switches_under_load_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (app, mut stopped) = process();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let load = Load::start(&router, &ALL);
    for number in 2..40 {
        let (app, stop) = process();
        let old = slot(number - 1, 1);
        let report = router
            .publish(&table(number, to(&[(slot(number, 1), app.address)])))
            .unwrap();
        assert!(!report.routed.contains(&old));
        until("the old process is drained", || router.in_flight(&old) == 0);
        stopped.store(true, Ordering::SeqCst);
        stopped = stop;
        sleep(Duration::from_millis(10));
    }
    let done = load.done();
    let lost = load.end();
    assert!(lost.is_empty(), "{} of {done} lost: {lost:#?}", lost.len());
    assert!(done > 500, "{done}");
}

#[test]
fn the_check_above_sees_a_process_that_stops_too_early() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (app, stopped) = process();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let load = Load::start(&router, &ALL);
    until("requests flow", || load.done() > 50);
    stopped.store(true, Ordering::SeqCst);
    sleep(Duration::from_millis(100));
    assert!(!load.end().is_empty());
}

#[test]
fn a_replaced_service_loses_nothing_while_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (app, mut stopped) = process();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let load = Load::start(&router, &ALL);
    for round in 1..8 {
        router
            .publish(&table(2 * round, RouteTarget::Held))
            .unwrap();
        until("the old process is drained", || {
            router.report().unwrap().in_flight.is_empty()
        });
        stopped.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(50));
        let (app, stop) = process();
        stopped = stop;
        router
            .publish(&table(
                2 * round + 1,
                to(&[(slot(2 * round + 1, 1), app.address)]),
            ))
            .unwrap();
        sleep(Duration::from_millis(50));
    }
    let lost = load.end();
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn one_of_several_processes_may_die_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (good, _) = process();
    // A process that ends between requests, without a word: its port refuses from then on.
    let gone = stage::free_address();
    router
        .publish(&table(
            1,
            to(&[(slot(1, 1), good.address), (slot(1, 2), gone)]),
        ))
        .unwrap();
    let load = Load::start(&router, &ALL);
    until("requests flow", || load.done() > 300);
    let lost = load.end();
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn idle_client_connections_survive_switches() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let mut wire = router.connect();
    for number in 1..6 {
        let (app, _) = process();
        router
            .publish(&table(number, to(&[(slot(number, 1), app.address)])))
            .unwrap();
        wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
        assert_eq!(wire.answer().status, 200);
    }
    assert_eq!(router.report().unwrap().connections, 1);
}

#[test]
fn a_router_that_ends_answers_what_it_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    let mut router = Router::start(dir.path());
    let app = App::new(|asked| {
        sleep(Duration::from_millis(if asked.path() == "/slow" {
            1500
        } else {
            0
        }));
        String::new()
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut idle = router.connect();
    idle.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    let mut busy = router.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    until("it is in flight", || router.in_flight(&slot(1, 1)) == 1);
    router.stop().unwrap();
    let answer = busy.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(idle.read_to_end().unwrap(), b"");
    until("it ended", || router.child.try_wait().unwrap().is_some());
    assert!(router.child.wait().unwrap().success());
}

#[test]
fn a_successor_takes_over_while_the_old_one_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        while let Ok(asked) = wire.asked() {
            if asked.path() == "/slow" {
                sleep(Duration::from_secs(3));
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    old.publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut busy = old.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    until("it is in flight", || old.in_flight(&slot(1, 1)) == 1);
    old.signal(Signal::SIGTERM);
    until("the directory is given up", || old.report().is_err());
    hoist_router::check_listen(dir.path(), old.address).unwrap();
    let new = Router::start_on(dir.path(), old.address);
    assert_eq!(new.report().unwrap().version.number, 1);
    for _ in 0..20 {
        assert_eq!(new.get("app.localhost", "/").text(), "ok");
    }
    assert!(
        old.child.try_wait().unwrap().is_none(),
        "it is still finishing"
    );
    assert_eq!(busy.answer().text(), "ok");
    until("the old one ended", || {
        old.child.try_wait().unwrap().is_some()
    });
    assert_eq!(new.get("app.localhost", "/").text(), "ok");
}

#[test]
fn successors_under_load_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut router = Router::start(dir.path());
    let (app, _) = process();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let load = Load::start(&router, &ALL);
    for _ in 0..3 {
        sleep(Duration::from_millis(100));
        router.signal(Signal::SIGTERM);
        until("the directory is given up", || router.report().is_err());
        let successor = Router::start_on(dir.path(), router.address);
        let mut old = std::mem::replace(&mut router, successor);
        until("the old one ended", || {
            old.child.try_wait().unwrap().is_some()
        });
    }
    let lost = load.end();
    assert!(lost.is_empty(), "{lost:#?}");
}
