//! Commands that look, wrong usage, and racks that are not there.

#[path = "support/samples.rs"]
mod samples;
mod support;

use std::io::{self, Write};

use hoist_cli::Environment;
use samples::{app, rack_info, release};
use support::{Rack, ended, hoist, json, run_in, stream};

fn log_line(text: &str) -> String {
    format!(
        r#"{{"at":"2026-01-01T00:00:01Z","source":"service/web/0a1b2c3d4e5f","text":"{text}"}}"#
    )
}

#[test]
fn logs_end_when_nothing_is_followed() {
    let lines = [
        ("line", log_line("one")),
        ("line", log_line("two")),
        ("end", "{}".to_owned()),
    ];
    let rack = Rack::start(vec![("GET /v1/apps/hello/logs", stream(&lines))]);
    let shown = hoist(
        &rack,
        &["logs", "-a", "hello", "--since", "10m", "-s", "web"],
    );
    let stdout = "\
2026-01-01T00:00:01Z service/web/0a1b2c3d4e5f one
2026-01-01T00:00:01Z service/web/0a1b2c3d4e5f two
";
    assert_eq!(shown, ended(0, stdout, ""));
    assert_eq!(
        rack.requests(),
        ["GET /v1/apps/hello/logs?service=web&since_seconds=600"]
    );
    let shown = hoist(&rack, &["logs", "-a", "hello", "--json"]);
    assert_eq!(shown.stdout.lines().count(), 2);
    assert!(
        shown
            .stdout
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{shown:?}"
    );
}

#[test]
fn logs_follow_on_a_terminal_unless_told_not_to() {
    let rack = Rack::start(vec![(
        "GET /v1/apps/hello/logs",
        stream(&[("end", "{}".to_owned())]),
    )]);
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/".into(),
        stdout_terminal: true,
        ..Environment::default()
    };
    for arguments in [
        &["logs", "-a", "hello"][..],
        &["logs", "-a", "hello", "--no-follow"],
    ] {
        assert_eq!(run_in(&environment, None, arguments).code, 0);
    }
    assert_eq!(
        rack.requests(),
        [
            "GET /v1/apps/hello/logs?follow=true&tail=100",
            "GET /v1/apps/hello/logs"
        ]
    );
}

#[test]
fn nobody_who_reads_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let rack = Rack::start(vec![(
        "GET /v1/apps/hello/logs",
        stream(&[("line", log_line("one"))]).cut(),
    )]);
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/".into(),
        ..Environment::default()
    };
    let mut stderr = Vec::new();
    let arguments = ["hoist", "logs", "-a", "hello"].map(Into::into);
    let code = hoist_cli::run(arguments, &environment, None, &mut Closed, &mut stderr);
    assert_eq!((code, stderr.as_slice()), (0, &b""[..]));
}

#[test]
fn lists_are_tables_or_pages() {
    let page = format!(r#"{{"items":[{}],"next":"abc"}}"#, release("RAAAAAAAAAA"));
    let rack = Rack::start(vec![("GET /v1/apps/hello/releases", json(200, page))]);
    let shown = hoist(&rack, &["releases", "-a", "hello", "--limit", "1"]);
    assert!(
        shown
            .stdout
            .starts_with("ID           STATUS  BUILD  CREATED"),
        "{}",
        shown.stdout
    );
    assert_eq!(rack.requests(), ["GET /v1/apps/hello/releases?limit=1"]);
    let shown = hoist(&rack, &["releases", "-a", "hello", "--json"]);
    let data: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(
        (&data["items"][0]["id"], &data["next"]),
        (&"RAAAAAAAAAA".into(), &"abc".into())
    );
}

#[test]
fn apps_and_one_app() {
    let list = format!(r#"{{"items":[{}],"next":null}}"#, app(Some("RAAAAAAAAAA")));
    let rack = Rack::start(vec![
        ("GET /v1/apps", json(200, list)),
        ("GET /v1/apps/hello", json(200, app(Some("RAAAAAAAAAA")))),
    ]);
    let stdout = "\
APP    STATUS   RELEASE      URL
hello  running  RAAAAAAAAAA  http://hello.localhost:8080
";
    assert_eq!(hoist(&rack, &["apps"]), ended(0, stdout, ""));
    let stdout = "\
Name     hello
Status   running
Release  RAAAAAAAAAA
Url      http://hello.localhost:8080
Created  2026-01-01T00:00:00Z
";
    assert_eq!(
        hoist(&rack, &["apps", "info", "hello"]),
        ended(0, stdout, "")
    );
    assert_eq!(
        hoist(&rack, &["apps", "info", "-a", "hello"]),
        ended(0, stdout, "")
    );
}

#[test]
fn deleting_asks_for_the_name_and_waits_until_it_is_gone() {
    let gone = r#"{"code":"app_not_found","message":"there is no app hello","hint":null,"request_id":"1"}"#;
    let rack = Rack::start(vec![
        (
            "DELETE /v1/apps/hello",
            json(
                202,
                r#"{"name":"hello","volumes_kept":["/data/volumes/hello/db"]}"#,
            ),
        ),
        ("GET /v1/apps/hello", json(200, app(None))),
        ("GET /v1/apps/hello", json(404, gone)),
    ]);
    for arguments in [
        &["apps", "delete", "hello"][..],
        &["apps", "delete", "hello", "--confirm", "hallo"],
    ] {
        let stderr = "\
ERROR: deleting hello destroys its processes, releases, builds and logs; its volumes stay
hint: confirm with its name: `hoist apps delete hello --confirm hello`
";
        assert_eq!(hoist(&rack, arguments), ended(2, "", stderr));
    }
    assert!(rack.requests().is_empty());
    let deleted = hoist(&rack, &["apps", "delete", "hello", "--confirm", "hello"]);
    assert_eq!(
        deleted,
        ended(
            0,
            "",
            "Deleting hello... OK\nkept: /data/volumes/hello/db\n"
        )
    );
    assert_eq!(rack.requests()[0], "DELETE /v1/apps/hello?confirm=hello");
}

#[test]
fn a_size_that_comes_back_exits_4_with_the_reason() {
    let services = |resize: &str| {
        format!(
            r#"{{"items":[{{"name":"web","desired":1,"running":1,"ready":1,"url":null,"resize":{resize}}}],"next":null}}"#
        )
    };
    let begun = r#"{"from":1,"to":2,"began":"2026-01-01T00:00:00Z","ended":null,"reason":null}"#;
    let gone_back = r#"{"from":1,"to":2,"began":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:09Z","reason":"web.2 was not ready in time"}"#;
    let rack = Rack::start(vec![
        ("PUT /v1/apps/hello/scale", json(200, services(begun))),
        ("GET /v1/apps/hello/services", json(200, services(begun))),
        (
            "GET /v1/apps/hello/services",
            json(200, services(gone_back)),
        ),
    ]);
    let stderr = "\
Scaling web to 2... FAILED
ERROR: web of hello stays at 1: web.2 was not ready in time
hint: `hoist logs -a hello -s web`
";
    assert_eq!(
        hoist(&rack, &["scale", "web=2", "-a", "hello"]),
        ended(4, "", stderr)
    );
    assert_eq!(
        rack.requests()[0],
        r#"PUT /v1/apps/hello/scale {"sizes":{"web":2}}"#
    );
}

#[test]
fn refusals_show_their_hint_and_as_json_their_code() {
    let rack = Rack::start(Vec::new());
    let environment = Environment {
        url: Some(format!("http://:wrong@{}", rack.address).into()),
        directory: "/".into(),
        ..Environment::default()
    };
    let stderr = "ERROR: the token is not one of this rack\nhint: look at D/token\n";
    assert_eq!(
        run_in(&environment, None, &["ps", "-a", "hello"]),
        ended(1, "", stderr)
    );
    let shown = run_in(&environment, None, &["ps", "-a", "hello", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&shown.stderr).expect("JSON");
    assert_eq!((shown.code, &error["code"]), (1, &"unauthenticated".into()));
}

#[test]
fn no_rack_is_3_whatever_the_reason() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let path = data_dir.path().to_string_lossy().into_owned();
    let environment = Environment {
        directory: "/".into(),
        ..Environment::default()
    };
    let never = run_in(
        &environment,
        None,
        &["ps", "-a", "hello", "--data-dir", &path],
    );
    let stderr = format!(
        "ERROR: no rack runs on {path}\n\
         hint: `hoist rack start` or `hoist up` starts one; --rack names another, by its URL or data directory\n"
    );
    assert_eq!(never, ended(3, "", &stderr));
    Rack::start(Vec::new()).describe_in(data_dir.path());
    let died = run_in(
        &environment,
        None,
        &["ps", "-a", "hello", "--data-dir", &path],
    );
    assert_eq!(died.code, 3);
    assert!(
        died.stderr
            .contains("cannot reach a rack at http://127.0.0.1:"),
        "{}",
        died.stderr
    );
    assert!(
        died.stderr
            .ends_with("hint: is it running? `hoist rack start` starts one\n"),
        "{}",
        died.stderr
    );
}

#[test]
fn a_data_directory_names_its_rack() {
    let rack = Rack::start(vec![("GET /v1/rack", json(200, rack_info()))]);
    let data_dir = tempfile::tempdir().expect("a directory");
    rack.describe_in(data_dir.path());
    let environment = Environment {
        url: Some("http://:other@127.0.0.1:1".into()),
        directory: data_dir.path().into(),
        ..Environment::default()
    };
    let shown = run_in(&environment, None, &["rack", "--data-dir", "."]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(
        shown.stdout.starts_with("Name     here\nVersion  0.1.0\n"),
        "{}",
        shown.stdout
    );
}

#[test]
fn wrong_usage_is_2_and_says_what_was_meant() {
    let environment = Environment {
        directory: "/".into(),
        ..Environment::default()
    };
    let usage = |arguments: &[&str]| run_in(&environment, None, arguments);
    for arguments in [
        &["ps", "-a", "Not An App"][..],
        &["ps"],
        &["env", "set", "FOO", "-a", "hello"],
        &["env", "set", "-a", "hello"],
        &["scale", "web=many", "-a", "hello"],
        &["logs", "-a", "hello", "-f", "--no-follow"],
        &["logs", "-a", "hello", "--since", "soon"],
        &["up", "--listen", "nowhere"],
        &["releases", "--limit", "0", "-a", "hello"],
    ] {
        let ended = usage(arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    let help = usage(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("HOIST_DATA_DIR"), "{}", help.stdout);
}

#[test]
fn the_token_never_leaves_this_machine_in_the_clear() {
    let environment = Environment {
        url: Some("http://:sesame@192.0.2.1:4500".into()),
        directory: "/".into(),
        ..Environment::default()
    };
    let refused = run_in(&environment, None, &["ps", "-a", "hello"]);
    let stderr = "\
ERROR: refusing to send the token over plain HTTP to 192.0.2.1:4500
hint: open a tunnel with `ssh -NL 4500:127.0.0.1:4500 192.0.2.1` and use http://:TOKEN@127.0.0.1:4500
";
    assert_eq!(refused, ended(1, "", stderr));
}

#[test]
fn version_answers_with_and_without_a_rack() {
    let rack = Rack::start(vec![("GET /v1/rack", json(200, rack_info()))]);
    let version = env!("CARGO_PKG_VERSION");
    let stdout = format!("client:  {version}\nrack:    0.1.0 (here at 127.0.0.1:4500)\n");
    assert_eq!(hoist(&rack, &["version"]), ended(0, &stdout, ""));
    let environment = Environment {
        data_dir: Some("/nowhere".into()),
        ..Environment::default()
    };
    let stdout = format!("client:  {version}\nrack:    none (no rack runs on /nowhere)\n");
    assert_eq!(
        run_in(&environment, None, &["version"]),
        ended(0, &stdout, "")
    );
}

#[test]
fn stopping_waits_for_the_processes() {
    let status = |word: &str| json(200, app(None).replace("running", word));
    let rack = Rack::start(vec![
        ("POST /v1/apps/hello/stop", json(202, app(None))),
        ("GET /v1/apps/hello", status("stopping")),
        ("GET /v1/apps/hello", status("stopped")),
    ]);
    assert_eq!(
        hoist(&rack, &["stop", "-a", "hello"]),
        ended(0, "", "Stopping hello... OK\n")
    );
    assert_eq!(rack.requests().len(), 3);
}
