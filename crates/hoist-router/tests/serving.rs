//! Requests go to the right process, whole and cleaned, and are counted exactly.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::sync::mpsc;
use std::time::Duration;

use hoist_core::model::{Millis, RouteTarget};
use stage::{App, Router, route, slot, table, to, until};

#[test]
fn a_request_reaches_the_process_of_its_host_and_says_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| asked.head);
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("GET /a?b HTTP/1.1\r\nHost: APP.localhost:99\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-Request-Id: mine-1\r\n\r\n");
    let answer = wire.answer();
    assert_eq!(answer.status, 200);
    let port = router.address.port();
    assert_eq!(
        answer.text(),
        format!(
            "GET /a?b HTTP/1.1\nhost: APP.localhost:99\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: http\n\
             x-forwarded-host: APP.localhost:99\nx-forwarded-port: {port}\nx-request-id: mine-1\n"
        )
    );
    wire.send("GET http://app.localhost/b HTTP/1.1\r\nHost: other\r\n\r\n");
    let absolute = wire.answer().text();
    assert!(
        absolute.starts_with("GET /b HTTP/1.1\nhost: app.localhost\n"),
        "{absolute}"
    );
}

#[test]
fn connections_to_a_process_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| asked.path().to_owned());
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    for n in 0..50 {
        wire.send(&format!("GET /{n} HTTP/1.1\r\nHost: app.localhost\r\n\r\n"));
        assert_eq!(wire.answer().text(), format!("/{n}"));
    }
    assert_eq!(app.accepted(), 1);
}

#[test]
fn bodies_pass_whole_with_a_length_and_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| {
        let framing = asked
            .header("content-length")
            .or(asked.header("transfer-encoding"))
            .unwrap()
            .to_owned();
        let sum: u64 = asked.body.iter().map(|byte| u64::from(*byte)).sum();
        format!("{framing} {sum}")
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let body = "x".repeat(3_000_000);
    let sum = u64::from(b'x') * 3_000_000;
    let mut wire = router.connect();
    wire.send(&format!(
        "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(wire.answer().text(), format!("3000000 {sum}"));
    wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(70_000) {
        wire.send(&format!(
            "{:x}\r\n{}\r\n",
            piece.len(),
            std::str::from_utf8(piece).unwrap()
        ));
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer().text(), format!("chunked {sum}"));
    wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    assert_eq!(wire.answer().text(), "0 0");
}

#[test]
fn answers_pass_in_every_framing() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        while let Ok(asked) = wire.asked() {
            match asked.path() {
                "/chunked" => wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
                "/large" => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n");
                    wire.send(&"y".repeat(5_000_000));
                }
                "/empty" => wire.send("HTTP/1.1 204 No Content\r\n\r\n"),
                "/early" => wire.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
                _ => {
                    wire.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
                    return;
                }
            }
        }
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    let mut get = |path: &str| {
        wire.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: app.localhost\r\n\r\n"
        ));
        wire.answer()
    };
    assert_eq!(get("/chunked").text(), "abcde");
    assert_eq!(get("/large").body.len(), 5_000_000);
    assert_eq!(get("/empty").status, 204);
    assert_eq!(get("/early").text(), "ok");
    assert_eq!(get("/close").text(), "until the end");
    assert_eq!(get("/chunked").text(), "abcde");
    assert_eq!(
        app.accepted(),
        2,
        "only the answer without a framing costs its connection"
    );
    wire.send("HEAD /large HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    assert_eq!(
        wire.head().unwrap().header("content-length"),
        Some("5000000")
    );
}

#[test]
fn events_arrive_as_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let app = App::raw(move |mut wire| {
        wire.asked().unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..3 {
            wire.send(&format!("8\r\ndata: {n}\n\r\n"));
            wait.lock().unwrap().recv().unwrap();
        }
        wire.send("0\r\n\r\n");
    });
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).timeout = Millis(300);
    router.publish(&table).unwrap();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    assert_eq!(wire.head().unwrap().status, 200);
    for n in 0..3 {
        // The app sends the next one only when this one was seen; silence between events is no fault.
        assert_eq!(wire.chunk().unwrap(), format!("data: {n}\n").into_bytes());
        std::thread::sleep(Duration::from_millis(400));
        go.send(()).unwrap();
    }
    assert_eq!(wire.chunk().unwrap(), b"");
}

#[test]
fn pages_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let unknown = router.get("nobody.localhost", "/");
    assert_eq!(
        (unknown.status, unknown.header("content-type")),
        (404, Some("text/plain; charset=utf-8"))
    );
    router.publish(&table(1, RouteTarget::Stopped)).unwrap();
    assert_eq!(router.get("app.localhost", "/").status, 502);
    router.publish(&table(2, to(&[]))).unwrap();
    let none = router.get("app.localhost", "/");
    assert_eq!((none.status, none.header("retry-after")), (503, Some("5")));
    router
        .publish(&table(3, to(&[(slot(1, 1), stage::free_address())])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept: text/html\r\n\r\n");
    let html = wire.answer();
    assert_eq!(html.status, 502);
    assert!(
        html.text().contains("<h1>App unreachable</h1>"),
        "{}",
        html.text()
    );
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept: application/json\r\n\r\n");
    assert!(wire.answer().text().contains(r#""code":"unreachable""#));
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(wire.answer().status, 400);
}

#[test]
fn a_process_that_is_slow_is_504_and_one_that_speaks_no_http_502() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        if wire.asked().unwrap().path() == "/slow" {
            std::thread::sleep(Duration::from_secs(2));
        }
        wire.send("220 mail.example ESMTP\r\n\r\n");
    });
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).timeout = Millis(200);
    router.publish(&table).unwrap();
    assert_eq!(router.get("app.localhost", "/slow").status, 504);
    assert_eq!(router.get("app.localhost", "/").status, 502);
}

#[test]
fn bodies_above_the_limit_are_413() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| asked.body.len().to_string());
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).body_bytes_max = 1000;
    router.publish(&table).unwrap();
    let send = |head: &str, body: &str| {
        let mut wire = router.connect();
        wire.send(&format!(
            "POST / HTTP/1.1\r\nHost: app.localhost\r\n{head}\r\n\r\n{body}"
        ));
        wire.answer()
    };
    assert_eq!(
        send("Content-Length: 1000", &"x".repeat(1000)).text(),
        "1000"
    );
    assert_eq!(send("Content-Length: 1001", &"x".repeat(1001)).status, 413);
    assert_eq!(
        send(
            "Transfer-Encoding: chunked",
            &format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024))
        )
        .status,
        413
    );
    assert_eq!(
        send("Content-Length: 50000000", "x").status,
        413,
        "before the body is sent"
    );
}

#[test]
fn two_framings_of_a_request_never_reach_a_process() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| asked.head);
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let answer = wire.answer();
    assert!(
        answer.status == 400 || !answer.text().contains("content-length"),
        "{answer:?}"
    );
    for bad in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: -1",
    ] {
        let mut wire = router.connect();
        wire.send(&format!(
            "POST / HTTP/1.1\r\nHost: app.localhost\r\n{bad}\r\n\r\n0\r\n\r\n"
        ));
        assert_eq!(wire.answer().status, 400, "{bad}");
    }
}

#[test]
fn requests_are_counted_until_their_answers_end() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let app = App::raw(move |mut wire| {
        wire.asked().unwrap();
        wait.lock().unwrap().recv().unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        wait.lock().unwrap().recv().unwrap();
        wire.send("lf");
    });
    let (old, new) = (slot(1, 1), slot(2, 1));
    router
        .publish(&table(1, to(&[(old.clone(), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    until("the request is counted", || router.in_flight(&old) == 1);
    let report = router
        .publish(&table(2, to(&[(new.clone(), app.address)])))
        .unwrap();
    assert_eq!(
        report.in_flight,
        [(old.clone(), 1)].into(),
        "also when its slot has left the table"
    );
    assert_eq!(report.routed, [new].into());
    go.send(()).unwrap();
    assert_eq!(wire.head().unwrap().status, 200);
    assert_eq!(router.in_flight(&old), 1, "while the body is on its way");
    go.send(()).unwrap();
    assert_eq!(wire.read(4).unwrap(), b"half");
    until("the count ends with the body", || {
        router.in_flight(&old) == 0
    });
}

#[test]
fn a_client_that_goes_away_is_counted_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.asked().unwrap();
        let _ = wire.read_to_end();
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    until("the request is counted", || {
        router.in_flight(&slot(1, 1)) == 1
    });
    drop(wire);
    until("the count ends with the client", || {
        router.in_flight(&slot(1, 1)) == 0
    });
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| {
        assert_eq!(asked.header("expect"), None);
        String::from_utf8(asked.body).unwrap()
    });
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).body_bytes_max = 10;
    router.publish(&table).unwrap();
    let mut wire = router.connect();
    let head = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: app.localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    wire.send(&head(5));
    assert_eq!(wire.head().unwrap().status, 100);
    wire.send("hello");
    assert_eq!(wire.answer().text(), "hello");
    wire.send(&head(11));
    assert_eq!(wire.answer().status, 413);
}

#[test]
fn an_answer_without_a_body_keeps_the_length_it_speaks_of() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        while wire.asked().is_ok() {
            wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\n");
        }
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    for _ in 0..3 {
        wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
        let answer = wire.head().unwrap();
        assert_eq!((answer.status, answer.header("etag")), (304, Some("\"1\"")));
    }
    assert_eq!(app.accepted(), 1);
}
