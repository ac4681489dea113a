//! `build`, `deploy`, `promote`, `rollback`, `env set`: what the user reads, and the exit code.

#[path = "support/samples.rs"]
mod samples;
mod support;

use samples::{app, build, built, line, promotion, release, rolled_back, source as listed};
use support::{Answer, Rack, ended, hoist, json, stream};

const EVENTS: &str = "GET /v1/apps/hello/promotions/1.42/events";

/// A directory with something to upload, named so that it makes an app's name.
fn source() -> (tempfile::TempDir, String) {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("hello");
    std::fs::create_dir(&directory).expect("created");
    std::fs::write(directory.join("Procfile"), "web: ./serve\n").expect("written");
    let path = directory.to_string_lossy().into_owned();
    (parent, path)
}

fn building(status: &str) -> Vec<(&'static str, Answer)> {
    vec![
        ("POST /v1/apps/hello/sources", json(201, listed(true))),
        ("PUT /v1/apps/hello/sources/5e", json(200, listed(false))),
        (
            "POST /v1/apps/hello/sources/5e/builds",
            json(201, built(None)),
        ),
        (
            "GET /v1/apps/hello/builds/BBBBBBBBBBB/logs",
            stream(&[
                ("line", line(0, "build", "compiling")),
                ("end", build(status)),
            ]),
        ),
    ]
}

fn promoting(end: String) -> Vec<(&'static str, Answer)> {
    vec![
        (
            "POST /v1/apps/hello/releases/RBBBBBBBBBB/promotions",
            json(201, promotion(None, "")),
        ),
        (
            EVENTS,
            stream(&[
                ("line", line(1, "system/local/web.1", "started")),
                ("end", end),
            ]),
        ),
    ]
}

fn existing() -> Vec<(&'static str, Answer)> {
    vec![("GET /v1/apps/hello", json(200, app(Some("RAAAAAAAAAA"))))]
}

fn script(parts: [Vec<(&'static str, Answer)>; 3]) -> Rack {
    Rack::start(parts.into_iter().flatten().collect())
}

#[test]
fn a_deploy_that_succeeds() {
    let rack = script([
        existing(),
        building("complete"),
        promoting(promotion(Some("succeeded"), "")),
    ]);
    let (_parent, directory) = source();
    let stderr = "\
Packaging source... OK
Uploading source... OK
Starting build... OK
compiling
Promoting RBBBBBBBBBB... 
2026-01-01T00:00:01Z system/local/web.1 started
OK
";
    let stdout = "Build:   BBBBBBBBBBB\nRelease: RBBBBBBBBBB\n";
    assert_eq!(
        hoist(&rack, &["deploy", &directory, "-d", "a try"]),
        ended(0, stdout, stderr)
    );
    let requests = rack.requests();
    for sent in [
        "PUT /v1/apps/hello/sources/5e a tar",
        r#"POST /v1/apps/hello/sources/5e/builds {"description":"a try"}"#,
    ] {
        assert!(requests.contains(&sent.to_owned()), "{requests:?}");
    }
}

/// The rack has every content, and says how far the release of that build is.
fn nothing_changed(unchanged: &str) -> Vec<(&'static str, Answer)> {
    vec![
        ("POST /v1/apps/hello/sources", json(201, listed(false))),
        (
            "POST /v1/apps/hello/sources/5e/builds",
            json(201, built(Some(unchanged))),
        ),
    ]
}

#[test]
fn a_deploy_that_changes_nothing_sends_builds_and_promotes_nothing() {
    let rack = script([existing(), nothing_changed(r#""active":true"#), Vec::new()]);
    let (_parent, directory) = source();
    let stderr = "\
Packaging source... OK
Uploading source... OK (nothing new)
nothing changed since BBBBBBBBBBB: no build (`--rebuild` builds anyway)
RBBBBBBBBBB is active already
";
    let stdout = "Build:   BBBBBBBBBBB\nRelease: RBBBBBBBBBB\n";
    assert_eq!(
        hoist(&rack, &["deploy", &directory]),
        ended(0, stdout, stderr)
    );
    let sent: Vec<_> = rack.requests().into_iter().skip(1).collect();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1], "POST /v1/apps/hello/sources/5e/builds {}");
    let deployed = hoist(&rack, &["deploy", &directory, "--json", "--rebuild"]);
    let data: serde_json::Value = serde_json::from_str(&deployed.stdout).expect("JSON");
    assert_eq!(
        (&data["unchanged"], &data["promotion"]),
        (&true.into(), &serde_json::Value::Null)
    );
    let last = rack.requests().pop().expect("a request");
    assert_eq!(
        last,
        r#"POST /v1/apps/hello/sources/5e/builds {"rebuild":true}"#
    );
}

#[test]
fn a_release_that_is_aside_is_promoted_without_a_build_and_one_in_flight_is_followed() {
    let succeeded = || promotion(Some("succeeded"), "");
    let aside = nothing_changed(r#""active":false"#);
    let rack = script([existing(), aside, promoting(succeeded())]);
    let (_parent, directory) = source();
    let deployed = hoist(&rack, &["deploy", &directory]);
    assert_eq!(deployed.code, 0, "{}", deployed.stderr);
    assert!(deployed.stderr.contains("Promoting RBBBBBBBBBB... \n"));

    let mut in_flight = nothing_changed(r#""active":false,"promotion":"1.42""#);
    in_flight.push((
        "GET /v1/apps/hello/promotions/1.42",
        json(200, promotion(None, "")),
    ));
    let rack = script([existing(), in_flight, promoting(rolled_back())]);
    let deployed = hoist(&rack, &["deploy", &directory]);
    assert_eq!(deployed.code, 4, "{}", deployed.stderr);
    assert!(deployed.stderr.contains("Following promotion 1.42... \n"));
    let began = |line: &String| line.starts_with("POST") && line.contains("/promotions");
    assert!(!rack.requests().iter().any(began), "{:?}", rack.requests());
}

#[test]
fn what_the_rack_forgot_meanwhile_is_listed_again() {
    let incomplete = r#"{"code":"source_incomplete","message":"x","request_id":"1"}"#;
    let again = vec![(
        "POST /v1/apps/hello/sources/5e/builds",
        json(409, incomplete),
    )];
    let rack = script([existing(), again, building("complete")]);
    let (_parent, directory) = source();
    let built = hoist(&rack, &["build", &directory]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let listed = |line: &&String| line.starts_with("POST /v1/apps/hello/sources ");
    assert_eq!(rack.requests().iter().filter(listed).count(), 2);
}

#[test]
fn a_rack_that_knows_no_sources_gets_an_archive() {
    let unknown = r#"{"code":"route_not_found","message":"x","request_id":"1"}"#;
    let before = vec![
        ("POST /v1/apps/hello/sources", json(404, unknown)),
        ("POST /v1/apps/hello/builds", json(201, build("running"))),
    ];
    let rack = script([existing(), before, building("complete")]);
    let (_parent, directory) = source();
    let built = hoist(&rack, &["build", &directory, "-d", "a try"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let uploaded = "POST /v1/apps/hello/builds?description=a%20try a tar".to_owned();
    assert!(rack.requests().contains(&uploaded), "{:?}", rack.requests());
}

#[test]
fn a_deploy_that_rolls_back_says_why_and_exits_4() {
    let rack = script([existing(), building("complete"), promoting(rolled_back())]);
    let (_parent, directory) = source();
    let deployed = hoist(&rack, &["deploy", &directory]);
    let block = "\
FAILED
ERROR: RBBBBBBBBBB of hello was rolled back: web.1 exited 3 times before it was ready: exit status 1
last log lines:
  2026-01-01T00:00:02Z service/web/0a1b2c3d4e5f no such module
serving: RAAAAAAAAAA, as before
kept:    RBBBBBBBBBB and its build, not active
look:    hoist promotions info 1.42 -a hello
hint: mend the source and run `hoist deploy -a hello` again
";
    assert!(deployed.stderr.ends_with(block), "{}", deployed.stderr);
    assert_eq!(
        (deployed.code, deployed.stdout.as_str()),
        (4, "Build:   BBBBBBBBBBB\nRelease: RBBBBBBBBBB\n")
    );
}

#[test]
fn a_deploy_as_json_is_one_document_however_it_ends() {
    for (end, code) in [(promotion(Some("succeeded"), ""), 0), (rolled_back(), 4)] {
        let rack = script([existing(), building("complete"), promoting(end)]);
        let (_parent, directory) = source();
        let deployed = hoist(&rack, &["deploy", &directory, "--json"]);
        assert_eq!(deployed.code, code);
        let data: serde_json::Value = serde_json::from_str(&deployed.stdout).expect("JSON");
        assert_eq!(data["release"], "RBBBBBBBBBB");
        assert_eq!(data["build"]["id"], "BBBBBBBBBBB");
        assert_eq!(data["promotion"]["number"], "1.42");
    }
}

#[test]
fn a_missing_app_is_created_and_said_or_refused() {
    let created = vec![("POST /v1/apps", json(201, app(None)))];
    let rack = script([created, building("complete"), Vec::new()]);
    let (_parent, directory) = source();
    let built = hoist(&rack, &["build", &directory]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(
        built
            .stderr
            .starts_with("Packaging source... OK\nCreating app hello... OK\n"),
        "{}",
        built.stderr
    );
    let refused = hoist(&rack, &["build", &directory, "--no-create"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
}

#[test]
fn a_source_that_cannot_be_packaged_creates_no_app() {
    let empty = tempfile::tempdir().expect("a directory");
    let directory = empty.path().to_string_lossy();
    for command in ["deploy", "build"] {
        let created = vec![("POST /v1/apps", json(201, app(None)))];
        let rack = script([created, Vec::new(), Vec::new()]);
        let refused = hoist(&rack, &[command, &directory, "-a", "hello"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        assert!(!refused.stderr.contains("Creating"), "{}", refused.stderr);
        assert!(refused.stderr.contains("\nhint: "), "{}", refused.stderr);
    }
}

#[test]
fn a_build_that_fails_changes_nothing() {
    let rack = script([existing(), building("failed"), Vec::new()]);
    let (_parent, directory) = source();
    let deployed = hoist(&rack, &["deploy", &directory]);
    assert_eq!((deployed.code, deployed.stdout.as_str()), (1, ""));
    let block = "\
compiling
ERROR: build BBBBBBBBBBB of hello failed: the build command ended with exit status 2; nothing changed
hint: `hoist builds logs BBBBBBBBBBB -a hello`
";
    assert!(deployed.stderr.ends_with(block), "{}", deployed.stderr);
}

#[test]
fn a_rack_that_goes_meanwhile_is_waited_for() {
    let started = ("line", line(1, "system/local/web.1", "started"));
    let ready = ("line", line(2, "system/local/web.1", "ready"));
    let rack = Rack::start(vec![
        ("GET /v1/apps/hello", json(200, app(None))),
        (
            "POST /v1/apps/hello/releases/RBBBBBBBBBB/promotions",
            json(201, promotion(None, "")),
        ),
        (EVENTS, stream(std::slice::from_ref(&started)).cut()),
        (
            EVENTS,
            stream(&[started, ready, ("end", promotion(Some("succeeded"), ""))]),
        ),
    ]);
    let stderr = "\
Promoting RBBBBBBBBBB... 
2026-01-01T00:00:01Z system/local/web.1 started
the rack is gone: waiting for it to come back
2026-01-01T00:00:02Z system/local/web.1 ready
OK
";
    assert_eq!(
        hoist(
            &rack,
            &["releases", "promote", "RBBBBBBBBBB", "-a", "hello"]
        ),
        ended(0, "", stderr)
    );
}

#[test]
fn a_build_log_that_breaks_off_is_no_success() {
    let rack = Rack::start(vec![
        ("GET /v1/apps/hello", json(200, app(None))),
        ("POST /v1/apps/hello/sources", json(201, listed(false))),
        (
            "POST /v1/apps/hello/sources/5e/builds",
            json(201, built(None)),
        ),
        (
            "GET /v1/apps/hello/builds/BBBBBBBBBBB/logs",
            stream(&[("line", line(0, "build", "compiling"))]).cut(),
        ),
    ]);
    let (_parent, directory) = source();
    let built = hoist(&rack, &["build", &directory]);
    assert_eq!(built.code, 3, "{}", built.stderr);
    assert!(
        built
            .stderr
            .contains("compiling\nERROR: the connection to the rack at http://127.0.0.1:"),
        "{}",
        built.stderr
    );
}

#[test]
fn what_the_next_release_would_stand_on_is_promoted_unless_one_is_named() {
    let newest = format!(r#"{{"items":[{}],"next":"x"}}"#, release("RCCCCCCCCCC"));
    let next = r#"{"release":"RBBBBBBBBBB","env":{}}"#;
    let rack = script([
        existing(),
        promoting(promotion(Some("succeeded"), "")),
        vec![
            ("GET /v1/apps/hello/releases", json(200, newest)),
            ("GET /v1/apps/hello/env", json(200, next)),
        ],
    ]);
    let flags = ["--if-busy", "supersede", "--timeout", "60", "--id"];
    let args = [&["promote", "-a", "hello"][..], &flags].concat();
    let promoted = hoist(&rack, &args);
    assert_eq!(promoted.code, 0);
    assert_eq!(promoted.stdout, "RBBBBBBBBBB\n");
    let told = "RCCCCCCCCCC is newer and was passed over: ";
    assert!(promoted.stderr.starts_with(told), "{}", promoted.stderr);
    let sent = r#"POST /v1/apps/hello/releases/RBBBBBBBBBB/promotions {"if_busy":"supersede","timeout_seconds":60}"#;
    assert!(
        rack.requests().contains(&sent.to_owned()),
        "{:?}",
        rack.requests()
    );

    let rack = Rack::start(vec![(
        "GET /v1/apps/hello/releases",
        json(200, r#"{"items":[],"next":null}"#),
    )]);
    let stderr = "ERROR: hello has no release yet\nhint: `hoist deploy -a hello` makes one\n";
    assert_eq!(
        hoist(&rack, &["promote", "-a", "hello"]),
        ended(1, "", stderr)
    );
}

#[test]
fn a_promotion_in_flight_is_said_before_it_is_waited_for() {
    let busy = app(None).replace(r#""promotion":null"#, r#""promotion":"1.41""#);
    let rack = script([
        vec![("GET /v1/apps/hello", json(200, busy))],
        promoting(promotion(Some("succeeded"), "")),
        Vec::new(),
    ]);
    let promoted = hoist(&rack, &["promote", "RBBBBBBBBBB", "-a", "hello"]);
    let first = promoted.stderr.lines().next().expect("a line");
    assert_eq!(
        first,
        "promotion 1.41 is in flight: waiting for its end (`--if-busy supersede` ends it)"
    );
}

#[test]
fn a_rollback_names_the_copy_that_it_promotes() {
    let begun = format!(
        r#"{{"release":{},"promotion":{}}}"#,
        release("RBBBBBBBBBB"),
        promotion(None, "")
    );
    let rack = script([
        existing(),
        promoting(promotion(Some("succeeded"), "")),
        vec![("POST /v1/apps/hello/rollbacks", json(201, begun))],
    ]);
    let stderr = "\
build and env go back; volumes, databases and sizes (`hoist scale`) stay as they are
Rolling back to RAAAAAAAAAA... OK, RBBBBBBBBBB
2026-01-01T00:00:01Z system/local/web.1 started
OK
";
    assert_eq!(
        hoist(
            &rack,
            &["releases", "rollback", "RAAAAAAAAAA", "-a", "hello"]
        ),
        ended(0, "", stderr)
    );
    let sent = r#"POST /v1/apps/hello/rollbacks {"if_busy":"wait","release":"RAAAAAAAAAA"}"#;
    let requests = rack.requests();
    let body = requests
        .iter()
        .find(|request| request.contains("rollbacks"))
        .expect("a rollback");
    let parsed = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text.splitn(3, ' ').nth(2).expect("a body"))
            .expect("JSON")
    };
    assert_eq!(parsed(body), parsed(sent));
}

#[test]
fn env_set_is_a_release_and_promotes_when_asked() {
    let updated = vec![
        (
            "GET /v1/apps/hello/env",
            json(200, r#"{"release":"RAAAAAAAAAA","env":{}}"#),
        ),
        (
            "PATCH /v1/apps/hello/env",
            json(201, release("RBBBBBBBBBB")),
        ),
    ];
    let rack = script([
        existing(),
        updated,
        promoting(promotion(Some("succeeded"), "")),
    ]);
    let set = hoist(
        &rack,
        &["env", "set", "FOO=bar=baz", "EMPTY=", "-a", "hello"],
    );
    assert_eq!(
        set,
        ended(0, "Release: RBBBBBBBBBB\n", "Setting FOO, EMPTY... OK\n")
    );
    assert!(
        rack.requests()[1].contains(r#""set":{"EMPTY":"","FOO":"bar=baz"}"#),
        "{:?}",
        rack.requests()
    );
    let set = hoist(&rack, &["env", "unset", "FOO", "-a", "hello", "--promote"]);
    assert_eq!(
        (set.code, set.stdout.as_str()),
        (0, "Release: RBBBBBBBBBB\n")
    );
    assert!(
        set.stderr
            .starts_with("Unsetting FOO... OK\nPromoting RBBBBBBBBBB... \n"),
        "{}",
        set.stderr
    );
}
