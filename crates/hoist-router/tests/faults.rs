//! A process that refuses, hangs up or is being replaced costs no request that can be answered.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hoist_core::model::RouteTarget;
use stage::{App, Router, free_address, slot, table, to, until};

#[test]
fn a_process_that_refuses_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| String::from_utf8(asked.body).unwrap());
    let gone = free_address();
    router
        .publish(&table(
            1,
            to(&[
                (slot(1, 1), gone),
                (slot(1, 2), app.address),
                (slot(1, 3), free_address()),
            ]),
        ))
        .unwrap();
    for _ in 0..20 {
        let mut wire = router.connect();
        // Nothing was sent to those that refuse, so a body is no obstacle.
        wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        let answer = wire.answer();
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
    }
    assert!(router.report().unwrap().in_flight.is_empty());
}

#[test]
fn connections_that_the_process_closed_meanwhile_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    // Each connection carries one request, says it stays, and is closed a moment later.
    let app = App::raw(|mut wire| {
        if let Ok(asked) = wire.asked() {
            let body = asked.path().to_owned();
            wire.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    router
        .publish(&table(1, to(&[(slot(1, 1), app.address)])))
        .unwrap();
    let mut wire = router.connect();
    for n in 0..300 {
        let method = ["GET", "POST", "DELETE"][n % 3];
        wire.send(&format!(
            "{method} /{n} HTTP/1.1\r\nHost: app.localhost\r\n\r\n"
        ));
        assert_eq!(wire.answer().text(), format!("/{n}"), "{method}");
        if n % 3 == 0 {
            // What comes next cannot be sent twice: the process's close must have been seen.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn what_is_safe_to_send_twice_is_sent_twice_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let hangs_up = App::raw(move |mut wire| {
        wire.asked().unwrap();
        count.fetch_add(1, Ordering::SeqCst);
    });
    let good = App::new(|_| "good".to_owned());
    router
        .publish(&table(1, to(&[(slot(1, 1), hangs_up.address)])))
        .unwrap();
    assert_eq!(router.get("app.localhost", "/").status, 502);
    assert_eq!(
        seen.load(Ordering::SeqCst),
        1,
        "there is no other process to try"
    );
    router
        .publish(&table(
            2,
            to(&[(slot(1, 1), hangs_up.address), (slot(1, 2), good.address)]),
        ))
        .unwrap();
    for _ in 0..6 {
        assert_eq!(router.get("app.localhost", "/").text(), "good");
    }
    let before = seen.load(Ordering::SeqCst);
    let posts = (0..6).map(|_| {
        let mut wire = router.connect();
        wire.send("POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        wire.answer().status
    });
    let refused = posts.filter(|status| *status == 502).count();
    assert!(refused > 0);
    assert_eq!(
        seen.load(Ordering::SeqCst) - before,
        refused,
        "a body is never sent twice"
    );
}

#[test]
fn requests_of_a_service_that_is_being_replaced_wait() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|asked| String::from_utf8(asked.body).unwrap());
    router.publish(&table(1, RouteTarget::Held)).unwrap();
    let (send, answers) = mpsc::channel();
    let mut waiting = Vec::new();
    for n in 0..10 {
        let (mut wire, send) = (router.connect(), send.clone());
        waiting.push(std::thread::spawn(move || {
            wire.send(&format!(
                "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\n\r\n{n}"
            ));
            send.send((n.to_string(), wire.answer())).unwrap();
        }));
    }
    until("all arrived", || router.report().unwrap().requests >= 10);
    router.publish(&table(2, RouteTarget::Held)).unwrap();
    assert!(
        answers.recv_timeout(Duration::from_millis(300)).is_err(),
        "they wait through tables that hold on"
    );
    assert!(router.report().unwrap().in_flight.is_empty());
    router
        .publish(&table(3, to(&[(slot(3, 1), app.address)])))
        .unwrap();
    for _ in 0..10 {
        let (sent, answer) = answers.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((answer.status, answer.text()), (200, sent));
    }
    waiting
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn waiting_ends_after_thirty_seconds_with_a_word_when_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    router.publish(&table(1, RouteTarget::Held)).unwrap();
    let began = Instant::now();
    let mut wire = router.connect();
    wire.stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    let answer = wire.answer();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    assert!(
        (29..50).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}
