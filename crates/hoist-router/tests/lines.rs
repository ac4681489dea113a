//! One access line per request, in the service's own file, soon and whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::path::Path;
use std::time::Duration;

use stage::{App, Router, route, slot, table, to, until};

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_line_says_what_was_asked_and_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("router.log");
    let router = Router::start(dir.path());
    let app = App::new(|_| "hello".to_owned());
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).access_log = Some(log.clone());
    route(&mut table).body_bytes_max = 10;
    router.publish(&table).unwrap();
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let mut wire = router.connect();
    wire.send(
        "GET /a/b?token=secret HTTP/1.1\r\nHost: app.localhost:8080\r\nX-Request-Id: r-1\r\n\r\n",
    );
    wire.answer();
    wire.send("POST /c HTTP/1.1\r\nHost: app.localhost\r\nX-Request-Id: r-2\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(wire.answer().status, 413);
    until("both lines are there", || lines(&log).len() == 2);
    let lines = lines(&log);
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!((before..before + 10_000).contains(&time.parse().unwrap()));
    let words: Vec<_> = rest.split(' ').collect();
    assert_eq!(words[..5], ["o", "GET", "/a/b", "200", "5"]);
    assert!(words[5].strip_suffix("ms").unwrap().parse::<u64>().unwrap() < 5_000);
    assert_eq!(words[6..], ["host=app.localhost:8080", "request_id=r-1"]);
    assert!(
        lines[1].contains(" o POST /c 413 ")
            && lines[1].ends_with(" host=app.localhost request_id=r-2")
    );
}

#[test]
fn a_client_that_did_not_wait_is_499() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("router.log");
    let router = Router::start(dir.path());
    let app = App::raw(|mut wire| {
        wire.asked().unwrap();
        let _ = wire.read_to_end();
    });
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).access_log = Some(log.clone());
    router.publish(&table).unwrap();
    let mut wire = router.connect();
    wire.send("GET /slow HTTP/1.1\r\nHost: app.localhost\r\n\r\n");
    until("it is there", || router.in_flight(&slot(1, 1)) == 1);
    drop(wire);
    until("the line is there", || {
        lines(&log)
            .iter()
            .any(|line| line.contains(" o GET /slow 499 0 "))
    });
}

#[test]
fn lines_survive_the_end_and_files_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("router.log");
    std::fs::write(&log, "x".repeat(8 << 20) + "\n").unwrap();
    let mut router = Router::start(dir.path());
    let app = App::new(|_| String::new());
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    route(&mut table).access_log = Some(log.clone());
    router.publish(&table).unwrap();
    for n in 0..20 {
        router.get("app.localhost", &format!("/{n}"));
    }
    router.stop().unwrap();
    until("it ended", || router.child.try_wait().unwrap().is_some());
    assert_eq!(lines(&log).len(), 20);
    assert_eq!(
        std::fs::metadata(dir.path().join("router.log.1"))
            .unwrap()
            .len(),
        (8 << 20) + 1
    );
}

#[test]
fn a_file_that_cannot_be_written_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let router = Router::start(dir.path());
    let app = App::new(|_| "hello".to_owned());
    let mut table = table(1, to(&[(slot(1, 1), app.address)]));
    let log = dir.path().join("missing").join("router.log");
    route(&mut table).access_log = Some(log.clone());
    router.publish(&table).unwrap();
    assert_eq!(router.get("app.localhost", "/").text(), "hello");
    std::thread::sleep(Duration::from_millis(400));
    std::fs::create_dir(dir.path().join("missing")).unwrap();
    assert_eq!(router.get("app.localhost", "/again").text(), "hello");
    until("lines come once they can", || {
        lines(&log).iter().any(|line| line.contains("/again"))
    });
}
