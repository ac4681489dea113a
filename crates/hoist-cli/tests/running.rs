//! Run and exec as the rack hears of them, and what comes before a session. Sessions themselves are end-to-end tests.

mod support;

use hoist_cli::Environment;
use support::{Ended, Rack, ended, hoist, json, run_in};

const PROCESS: &str = r#"{"id":"0a1b2c3d4e5f","app":"hello","name":"web","slot":0,"one_off":true,"status":"ready",
    "release":"RAAAAAAAAAA","cpu":0.0,"memory":0.0,"cpu_millicores":0,"memory_bytes":0,"started":"2026-01-01T00:00:00Z",
    "command":"ls","restarts":0,"last_exit":null,"host":"h"}"#;

fn rack(run: &str) -> Rack {
    let refused = r#"{"code":"process_not_found","message":"no process `3f` of app `hello` runs","hint":"hoist ps -a hello"}"#;
    Rack::start(vec![
        ("POST /v1/apps/hello/processes", json(201, run)),
        ("POST /v1/apps/hello/processes/3f/execs", json(404, refused)),
        (
            "POST /v1/apps/hello/processes/web/execs",
            json(404, refused),
        ),
    ])
}

fn detached() -> Rack {
    rack(&format!(r#"{{"process":{PROCESS},"session":null}}"#))
}

/// The one request of a command that runs detached.
fn asked(arguments: &[&str]) -> String {
    let rack = detached();
    let ran = hoist(&rack, &[&["run", "-a", "hello", "-d"], arguments].concat());
    assert_eq!(ran, ended(0, "0a1b2c3d4e5f\n", ""), "{arguments:?}");
    let requests = rack.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let body = requests[0].strip_prefix("POST /v1/apps/hello/processes ");
    body.expect("a request").to_owned()
}

#[test]
fn everything_after_the_service_belongs_to_the_command() {
    for (arguments, body) in [
        (
            &["web", "echo $A"][..],
            r#"{"service":"web","command":["echo $A"],"shell":true}"#,
        ),
        (
            &["web", "ls", "-a", "x"],
            r#"{"service":"web","command":["ls","-a","x"]}"#,
        ),
        (
            &["web", "--", "one word"],
            r#"{"service":"web","command":["one word"]}"#,
        ),
        (
            &["web", "x", "--json", "--", "-T"],
            r#"{"service":"web","command":["x","--json","--","-T"]}"#,
        ),
        (
            &["--release", "RAAAAAAAAAA", "web", "ls -r"],
            r#"{"service":"web","command":["ls -r"],"shell":true,"release":"RAAAAAAAAAA"}"#,
        ),
    ] {
        assert_eq!(asked(arguments), body);
    }
}

#[test]
fn a_detached_one_is_printed_as_it_is_asked_for() {
    let ran = hoist(
        &detached(),
        &["--json", "run", "-d", "-a", "hello", "web", "ls"],
    );
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(
        (ran.code, &value["id"], &value["one_off"]),
        (0, &"0a1b2c3d4e5f".into(), &true.into())
    );
}

#[test]
fn a_terminal_is_asked_for_when_both_ends_are_one() {
    let attached = |stdin_terminal, stdout_terminal, flags: &[&str]| {
        let rack = detached();
        let environment = Environment {
            url: Some(rack.url().into()),
            directory: "/".into(),
            stdin_terminal,
            stdout_terminal,
            term: Some("xterm".to_owned()),
            ..Environment::default()
        };
        let arguments = [&["exec", "-a", "hello"], flags, &["web", "sh"]].concat();
        assert_eq!(run_in(&environment, None, &arguments).code, 1);
        rack.requests()[0].contains(r#""term":"xterm""#)
    };
    for (stdin, stdout, flags, expected) in [
        (true, true, &[][..], true),
        (true, false, &[], false),
        (false, true, &[], false),
        (false, false, &["-t"], true),
        (true, true, &["-T"], false),
    ] {
        assert_eq!(
            attached(stdin, stdout, flags),
            expected,
            "{stdin} {stdout} {flags:?}"
        );
    }
}

#[test]
fn what_is_refused_before_a_process_begins_has_the_usual_exit_codes() {
    let refused = hoist(&detached(), &["exec", "-a", "hello", "3f", "ls"]);
    let words = "ERROR: no process `3f` of app `hello` runs\nhint: hoist ps -a hello\n";
    assert_eq!(refused, ended(1, "", words));
    let environment = Environment {
        url: Some("http://:t@127.0.0.1:1".into()),
        directory: "/".into(),
        ..Environment::default()
    };
    let gone = run_in(&environment, None, &["run", "-a", "hello", "web", "ls"]);
    assert_eq!(gone.code, 3);
    let usage = |arguments: &[&str]| -> Ended { hoist(&detached(), arguments) };
    for (arguments, word) in [
        (&["run", "web"][..], "<CMD>..."),
        (&["run", "-a", "hello", "web", "--"], "there is no command"),
        (&["run", "-a", "hello", "--wrong", "web", "ls"], "--wrong"),
        (&["run", "-d", "-t", "web", "ls"], "do not go together"),
        (&["exec", "-t", "-T", "web", "ls"], "do not go together"),
    ] {
        let ran = usage(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_rack_that_does_not_speak_websocket_is_said_so() {
    let body = format!(r#"{{"process":{PROCESS},"session":"aa"}}"#);
    let rack = Rack::start(vec![
        ("POST /v1/apps/hello/processes", json(201, body)),
        ("GET /v1/sessions/aa", json(200, "{}")),
    ]);
    let ran = hoist(&rack, &["run", "-a", "hello", "web", "ls"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(
        ran.stderr.contains("does not speak WebSocket"),
        "{}",
        ran.stderr
    );
}
