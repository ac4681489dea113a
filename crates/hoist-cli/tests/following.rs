//! What is followed: the block on a terminal, plain lines without one, and racks that go meanwhile.

#[path = "support/samples.rs"]
mod samples;
mod support;

use std::time::Duration;

use hoist_cli::Environment;
use hoist_cli::environment::TerminalSize;
use samples::{app, line, promotion};
use support::{Ended, Rack, ended, hoist, json, run_in, stream};

const ONE: &str = "GET /v1/apps/hello/promotions/1.42";
const EVENTS: &str = "GET /v1/apps/hello/promotions/1.42/events";
const CREATE: &str = "POST /v1/apps/hello/releases/RBBBBBBBBBB/promotions";

/// A promotion that takes a moment: an event, a pause, another event and the end.
fn slow_promotion() -> Rack {
    let in_flight = promotion(
        None,
        r#""reason":null,"hint":null,"serving":null,"services":[
            {"name":"web","plan":"replace","strategy":"surge","desired":2,"ready":1,"problem":null},
            {"name":"worker","plan":"replace","strategy":"surge","desired":1,"ready":0,
             "problem":"worker.1 exited 2 times (exit 1)"}]"#,
    )
    .replace(r#""phase":null"#, r#""phase":"starting""#);
    let begins = stream(&[("line", line(1, "system/local/web.1", "started"))]);
    let ends = stream(&[
        ("line", line(2, "system/local/web.1", "ready")),
        ("end", promotion(Some("succeeded"), "")),
    ]);
    Rack::start(vec![
        ("GET /v1/apps/hello", json(200, app(None))),
        (CREATE, json(201, promotion(None, ""))),
        (ONE, json(200, in_flight)),
        (EVENTS, begins.then(Duration::from_millis(2_200), ends)),
    ])
}

fn on_terminal(rack: &Rack, arguments: &[&str]) -> Ended {
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/".into(),
        stderr_terminal: true,
        plain: true,
        stderr_size: Some((|| Some((60, 20))) as TerminalSize),
        ..Environment::default()
    };
    run_in(&environment, None, arguments)
}

/// What a terminal shows in the end of what was written to it: lines, the cursor moved up, and what is below cleared.
fn shown(written: &str) -> String {
    let mut lines = vec![String::new()];
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b[") {
            let end = after
                .find(|c: char| c.is_ascii_alphabetic())
                .expect("a sequence");
            let (number, letter) = (&after[..end], &after[end..=end]);
            match letter {
                "A" => {
                    let up: usize = number.parse().expect("a number");
                    lines.truncate(lines.len() - up);
                    // Every line is drawn from its beginning and the rest of it cleared.
                    lines.last_mut().expect("a line").clear();
                }
                "J" | "K" | "h" | "l" => {}
                other => panic!("what is {other}?"),
            }
            rest = &after[end + 1..];
            continue;
        }
        match c {
            '\n' => lines.push(String::new()),
            '\r' => lines.last_mut().expect("a line").clear(),
            c => lines.last_mut().expect("a line").push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    lines.join("\n")
}

#[test]
fn the_block_stands_while_it_goes_on_and_leaves_plain_lines() {
    let rack = slow_promotion();
    let said = on_terminal(&rack, &["promote", "RBBBBBBBBBB", "-a", "hello"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let block = "  worker  0/1 ready  failing: worker.1 exited 2 times (exi…\x1b[K\n\
                 \x20 web     1/2 ready  starting\x1b[K\nstarting RBBBBBBBBBB (0 s)\x1b[K\n";
    assert!(said.stderr.contains(block), "{:?}", said.stderr);
    assert!(
        said.stderr.contains("starting RBBBBBBBBBB (1 s)\x1b[K\n"),
        "{:?}",
        said.stderr
    );
    let plain = slow_promotion();
    let plain = hoist(&plain, &["promote", "RBBBBBBBBBB", "-a", "hello"]);
    assert!(!plain.stderr.contains('\x1b'), "{:?}", plain.stderr);
    assert_eq!(shown(&said.stderr), plain.stderr);
}

#[test]
fn plain_lines_ask_for_nothing_more() {
    let rack = slow_promotion();
    hoist(&rack, &["promote", "RBBBBBBBBBB", "-a", "hello"]);
    assert!(
        !rack.requests().iter().any(|request| request == ONE),
        "{:?}",
        rack.requests()
    );
}

fn log_line(second: u8, text: &str) -> (&'static str, String) {
    let line = format!(
        r#"{{"at":"2026-01-01T00:00:{second:02}Z","source":"service/web/0a1b","text":"{text}"}}"#
    );
    ("line", line)
}

const LOGS: &str = "GET /v1/apps/hello/logs";

#[test]
fn logs_that_are_followed_go_on_when_the_rack_is_back() {
    let again = [
        log_line(1, "one"),
        log_line(2, "two"),
        log_line(2, "also two"),
        log_line(3, "three"),
        ("end", "{}".to_owned()),
    ];
    let rack = Rack::start(vec![
        (
            LOGS,
            stream(&[log_line(1, "one"), log_line(2, "two")]).cut(),
        ),
        (LOGS, stream(&again)),
    ]);
    let stdout = "\
2026-01-01T00:00:01Z service/web/0a1b one
2026-01-01T00:00:02Z service/web/0a1b two
2026-01-01T00:00:02Z service/web/0a1b also two
2026-01-01T00:00:03Z service/web/0a1b three
";
    let stderr = "the rack is gone: waiting for it to come back\n";
    assert_eq!(
        hoist(&rack, &["logs", "-f", "-a", "hello"]),
        ended(0, stdout, stderr)
    );
    let requests = rack.requests();
    assert_eq!(requests[0], format!("{LOGS}?follow=true&tail=100"));
    assert!(
        requests[1].starts_with(&format!("{LOGS}?follow=true&since_seconds=")),
        "{requests:?}"
    );
}

#[test]
fn logs_that_are_not_followed_break_off_with_3() {
    let rack = Rack::start(vec![(LOGS, stream(&[log_line(1, "one")]).cut())]);
    let said = hoist(&rack, &["logs", "-a", "hello"]);
    assert_eq!((said.code, rack.requests().len()), (3, 1));
}
