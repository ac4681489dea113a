//! Clients of other kinds and of bad manners: HTTP/2, silence, slowness, oversized heads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use stage::{App, Router, slot, table, to, until};

#[test]
fn http2_by_prior_knowledge_with_many_streams() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app =
        App::new(|asked| format!("{}|{}", asked.head, String::from_utf8(asked.body).unwrap()));
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(router.address)
            .await
            .unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let requests = (0..100).map(|n| {
            let request = Request::post(format!("http://app.localhost/{n}"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("te", "trailers")
                .body(Full::new(Bytes::from(n.to_string())))
                .unwrap();
            let mut sender = sender.clone();
            tokio::spawn(async move { sender.send_request(request).await })
        });
        for (n, request) in requests.collect::<Vec<_>>().into_iter().enumerate() {
            let response = request.await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(
                text.starts_with(&format!("POST /{n} HTTP/1.1\nhost: app.localhost\n")),
                "{text}"
            );
            assert!(
                text.contains("\ncookie: a=1; b=2\n") && !text.contains("te: "),
                "{text}"
            );
            assert!(text.ends_with(&format!("|{n}")), "{text}");
        }
        let unknown = Request::get("http://nobody.localhost/")
            .body(Full::default())
            .unwrap();
        assert_eq!(
            sender.clone().send_request(unknown).await.unwrap().status(),
            404
        );
    });
    assert!(router.report().unwrap().in_flight.is_empty());
}

#[test]
fn an_http2_client_that_leaves_leaves_nothing_counted() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.asked().unwrap();
        let _ = wire.read_to_end();
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(router.address)
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(
            TokioExecutor::new(),
            TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://app.localhost/")
            .body(Full::default())
            .unwrap();
        tokio::spawn(async move { sender.send_request(request).await });
    });
    until("it is counted", || router.in_flight(&slot(1, 1)) == 1);
    drop(runtime);
    until("it is counted no more", || {
        router.in_flight(&slot(1, 1)) == 0
    });
}

#[test]
fn clients_that_dawdle_keep_nobody_else_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|_| "hello".to_owned());
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut slow: Vec<_> = (0..200).map(|_| router.connect()).collect();
    for (n, wire) in slow.iter_mut().enumerate() {
        match n % 4 {
            0 => {}
            1 => wire.send("PRI * HT"),
            2 => wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Slow: "),
            _ => {
                wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 100\r\n\r\nx")
            }
        }
    }
    for _ in 0..50 {
        assert_eq!(router.get("app.localhost", "/").text(), "hello");
    }
    for mut wire in slow.drain(..).skip(2).step_by(4) {
        wire.send("y\r\n\r\n");
        assert_eq!(wire.answer().text(), "hello");
    }
}

#[test]
fn heads_without_end_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|_| "hello".to_owned());
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let refused = |head: String| {
        let mut wire = router.connect();
        let _ = wire.stream.write_all(head.as_bytes());
        wire.head().unwrap().status
    };
    let start = "GET / HTTP/1.1\r\nHost: app.localhost\r\n";
    assert_eq!(
        refused(format!("{start}X: {}\r\n\r\n", "x".repeat(100_000))),
        431
    );
    assert_eq!(
        refused(format!("{start}{}\r\n", "X: y\r\n".repeat(200))),
        431
    );
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost : app.localhost\r\n\r\n".to_owned()),
        400
    );
    assert_eq!(refused("\x16\x03\x01\x02\r\n\r\n".to_owned()), 400);
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n".to_owned()), 400);
    assert_eq!(
        refused("CONNECT app.localhost:22 HTTP/1.1\r\nHost: app.localhost\r\n\r\n".to_owned()),
        405
    );
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        std::thread::sleep(Duration::from_millis(100));
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 100000000\r\n\r\nbegin");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.text()), (403, "no".to_owned()));
}
