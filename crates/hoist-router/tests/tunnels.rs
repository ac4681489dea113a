//! WebSockets live as long as their process, and end with a close frame, never with a reset.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use hoist_core::model::RouteTarget;
use nix::sys::signal::Signal;
use stage::{App, Router, Wire, route, slot, table, to, until};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What a scripted app does after the switch.
enum Act {
    Send(Vec<u8>),
    Read(usize),
    End,
    Reset,
}

/// An app whose WebSockets do what they are told.
fn scripted() -> (App, mpsc::Sender<Act>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let app = App::raw(move |mut wire| {
        let asked = wire.asked().unwrap();
        assert_eq!(asked.header("upgrade"), Some("websocket"));
        assert_eq!(asked.header("connection"), Some("upgrade"));
        wire.send(SWITCHED);
        while let Ok(act) = told.lock().unwrap().recv() {
            match act {
                Act::Send(bytes) => wire.stream.write_all(&bytes).unwrap(),
                Act::Read(length) => drop(wire.read(length).unwrap()),
                Act::End => return,
                Act::Reset => {
                    socket2::SockRef::from(&wire.stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    return;
                }
            }
        }
    });
    (app, tell)
}

fn open(router: &Router) -> Wire {
    let mut wire = router.connect();
    wire.send(UPGRADE);
    let answer = wire.head().unwrap();
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    wire
}

fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        middle => {
            frame.push(127);
            frame.extend((middle as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// The rest of what a client gets: bytes to the end of the stream, which must not be a reset.
fn rest(mut wire: Wire) -> Vec<u8> {
    wire.read_to_end().unwrap()
}

#[test]
fn frames_pass_both_ways_and_are_counted_apart() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.asked().unwrap();
        wire.send(SWITCHED);
        let mut bytes = [0; 1000];
        while let Ok(length @ 1..) = wire.stream.read(&mut bytes) {
            wire.stream.write_all(&bytes[..length]).unwrap();
        }
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    // The first frame comes together with the request, before the switch is known.
    wire.stream
        .write_all(&[UPGRADE.as_bytes(), &text(b"early")].concat())
        .unwrap();
    assert_eq!(wire.head().unwrap().status, 101);
    assert_eq!(wire.read(7).unwrap(), text(b"early"));
    wire.stream.write_all(&text(b"hello")).unwrap();
    assert_eq!(wire.read(7).unwrap(), text(b"hello"));
    let report = router.report().unwrap();
    assert!(report.in_flight.is_empty(), "{report:?}");
    assert_eq!(report.tunnels, [(slot(1, 1), 1)].into());
    drop(wire);
    until("the tunnel is counted no more", || {
        router.report().unwrap().tunnels.is_empty()
    });
}

#[test]
fn a_tunnel_outlives_its_route_and_is_closed_when_its_process_ends() {
    for last in [Act::End, Act::Reset] {
        let dir = tempfile::tempdir().unwrap();
        let router = Router::start(dir.path());
        let (app, tell) = scripted();
        router
            .publish(&table(1, to(&[(slot(1, 1), app.address)])))
            .unwrap();
        let mut wire = open(&router);
        router.publish(&table(2, RouteTarget::Stopped)).unwrap();
        tell.send(Act::Send(text(b"still here"))).unwrap();
        assert_eq!(wire.read(12).unwrap(), text(b"still here"));
        // A client that is in the middle of sending must not make the end a reset.
        wire.stream.write_all(&[7; 5000]).unwrap();
        tell.send(Act::Send(
            [text(b"last"), text(b"never whole")[..5].to_vec()].concat(),
        ))
        .unwrap();
        tell.send(last).unwrap();
        assert_eq!(
            rest(wire),
            [text(b"last"), vec![0x88, 2, 0x03, 0xf4]].concat(),
            "1012 between frames"
        );
    }
}

#[test]
fn a_close_of_the_process_is_the_only_one() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (app, tell) = scripted();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let wire = open(&router);
    tell.send(Act::Send(vec![0x88, 2, 0x03, 0xe9])).unwrap();
    tell.send(Act::End).unwrap();
    assert_eq!(rest(wire), [0x88, 2, 0x03, 0xe9]);
}

#[test]
fn large_frames_pass_as_they_arrive_and_nothing_is_written_into_them() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (app, tell) = scripted();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = open(&router);
    let large = text(&vec![b'x'; 300_000]);
    tell.send(Act::Send(large[..200_000].to_vec())).unwrap();
    assert_eq!(wire.read(200_000).unwrap(), large[..200_000]);
    tell.send(Act::End).unwrap();
    assert_eq!(rest(wire), b"", "an end in the middle of a frame is an end");
}

#[test]
fn a_router_that_ends_closes_tunnels_with_going_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut router = Router::start(dir.path());
    let (app, tell) = scripted();
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = open(&router);
    router.signal(Signal::SIGTERM);
    assert_eq!(wire.read(4).unwrap(), [0x88, 2, 0x03, 0xe9]);
    // The client's answer reaches the process.
    wire.stream
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9])
        .unwrap();
    tell.send(Act::Read(8)).unwrap();
    wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(wire), b"");
    until("the router ended", || {
        router.child.try_wait().unwrap().is_some()
    });
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| asked.path().to_owned());
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).body_bytes_max = 5;
    router.publish(&table).unwrap();
    let mut wire = router.connect();
    wire.send(UPGRADE);
    assert_eq!(wire.answer().text(), "/ws");
    wire.send("GET /again HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    assert_eq!(wire.answer().text(), "/again");
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_bad_answer() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.asked().unwrap();
        wire.send(SWITCHED);
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    assert_eq!(router.get("app.localhost", "/").status, 502);
    let mut wire = router.connect();
    wire.send(
        "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    );
    assert_eq!(wire.answer().status, 502);
}
