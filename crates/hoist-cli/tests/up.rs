//! `up`, `rack start` and `rack stop` around a rack that a test stands in for.

#[path = "support/samples.rs"]
mod samples;
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hoist_cli::{
    BackupContents, BackupWish, BoxFuture, Environment, Passphrase, RackError, RackOptions,
    RackStarter, Restored, RunningRack, StoppedApps,
};
use samples::{app, build, built, line, promotion, rack_info, rolled_back, source as listed};
use support::{Answer, Ended, Rack, json, run_in, stream};

/// Starts scripted racks, which end by themselves as soon as somebody waits for that.
#[derive(Default)]
struct Starter {
    script: Mutex<Vec<(&'static str, Answer)>>,
    refuses: bool,
    started: Mutex<Vec<RackOptions>>,
    stopped: std::sync::Arc<Mutex<Vec<bool>>>,
    stopped_apps: Mutex<Vec<PathBuf>>,
}

struct Running {
    rack: Rack,
    stopped: std::sync::Arc<Mutex<Vec<bool>>>,
}

impl Starter {
    fn refused(&self) -> Result<(), RackError> {
        let message = "the machine failed".to_owned();
        let refused = RackError {
            message,
            hint: None,
            source: None,
        };
        if self.refuses { Err(refused) } else { Ok(()) }
    }
}

fn contents() -> BackupContents {
    BackupContents {
        apps: vec!["shop".to_owned()],
        slugs: 2,
        volumes: 0,
        key: true,
        created_ms: 0,
        version: "0.1.0".to_owned(),
    }
}

impl RackStarter for Starter {
    fn start(
        &self,
        options: RackOptions,
    ) -> BoxFuture<'_, Result<Box<dyn RunningRack>, RackError>> {
        if self.refuses {
            let hint = Some("choose another with --listen".to_owned());
            let message = "cannot listen on 127.0.0.1:4500".to_owned();
            let source = Some(Box::from("address in use"));
            return Box::pin(async {
                Err(RackError {
                    message,
                    hint,
                    source,
                })
            });
        }
        let rack = Rack::start(std::mem::take(&mut *self.script.lock().expect("a lock")));
        rack.describe_in(&options.data_dir);
        self.started.lock().expect("a lock").push(options);
        let running: Box<dyn RunningRack> = Box::new(Running {
            rack,
            stopped: self.stopped.clone(),
        });
        Box::pin(async { Ok(running) })
    }

    fn stop_apps<'a>(
        &'a self,
        data_dir: &'a Path,
    ) -> BoxFuture<'a, Result<StoppedApps, RackError>> {
        self.stopped_apps
            .lock()
            .expect("a lock")
            .push(data_dir.to_owned());
        Box::pin(async {
            Ok(StoppedApps {
                processes: 3,
                router: true,
            })
        })
    }

    fn backup<'a>(
        &'a self,
        _: &'a Path,
        _: BackupWish,
        mut to: std::fs::File,
    ) -> BoxFuture<'a, Result<BackupContents, RackError>> {
        use std::io::Write as _;
        Box::pin(async move {
            to.write_all(b"half").expect("written");
            self.refused().map(|()| contents())
        })
    }

    fn restore<'a>(
        &'a self,
        _: &'a Path,
        _: &'a Path,
        passphrase: Option<Passphrase>,
        _: bool,
    ) -> BoxFuture<'a, Result<Restored, RackError>> {
        Box::pin(async move {
            self.refused()?;
            let sealed = || RackError {
                message: "the key is sealed".to_owned(),
                hint: None,
                source: None,
            };
            Ok(match passphrase {
                Some(_) => Restored::Done(contents()),
                None => Restored::Sealed(sealed()),
            })
        })
    }
}

impl RunningRack for Running {
    fn listen(&self) -> SocketAddr {
        self.rack.address
    }

    fn router(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    fn ended(&mut self) -> BoxFuture<'_, Result<(), RackError>> {
        Box::pin(async { Ok(()) })
    }

    fn shutdown(self: Box<Self>, apps: bool) -> BoxFuture<'static, Result<(), RackError>> {
        self.stopped.lock().expect("a lock").push(apps);
        Box::pin(async { Ok(()) })
    }
}

struct Place {
    parent: tempfile::TempDir,
    environment: Environment,
}

/// A directory `hello` with a source, and a data directory that does not exist yet.
fn place() -> Place {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("hello");
    std::fs::create_dir(&directory).expect("created");
    std::fs::write(directory.join("Procfile"), "web: ./serve\nworker: ./work\n").expect("written");
    let environment = Environment {
        data_dir: Some(parent.path().join("data").into()),
        directory,
        ..Environment::default()
    };
    Place {
        parent,
        environment,
    }
}

fn deploying(end: String, serving: Option<&str>) -> Vec<(&'static str, Answer)> {
    vec![
        ("GET /check", json(200, "{}")),
        ("GET /v1/rack", json(200, rack_info())),
        (
            "GET /v1/apps/hello",
            json(404, r#"{"code":"app_not_found","message":"no app"}"#),
        ),
        ("GET /v1/apps/hello", json(200, app(serving))),
        ("POST /v1/apps", json(201, app(None))),
        ("POST /v1/apps/hello/sources", json(201, listed(false))),
        (
            "POST /v1/apps/hello/sources/5e/builds",
            json(201, built(None)),
        ),
        (
            "GET /v1/apps/hello/builds/BBBBBBBBBBB/logs",
            stream(&[("end", build("complete"))]),
        ),
        (
            "POST /v1/apps/hello/releases/RBBBBBBBBBB/promotions",
            json(201, promotion(None, "")),
        ),
        (
            "GET /v1/apps/hello/promotions/1.42/events",
            stream(&[
                ("line", line(1, "system/local/web.1", "started")),
                ("end", end),
            ]),
        ),
    ]
}

fn up(place: &Place, starter: &Starter) -> Ended {
    run_in(&place.environment, Some(starter), &["up"])
}

/// The text without times, which differ, and paths.
fn without_times(text: &str, place: &Place) -> String {
    let path = place.parent.path().canonicalize().expect("a path");
    let line = |line: &str| {
        let line = line.replace(&path.to_string_lossy().into_owned(), "P");
        match line.split_once(" (") {
            Some((step, rest)) if rest.ends_with("ms)") && step.ends_with("... OK") => {
                format!("{step} (TIME)")
            }
            _ if line.starts_with("built in ") => "built in TIME".to_owned(),
            _ => line,
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn from_a_directory_to_a_served_app() {
    let phases = r#""reason":null,"hint":null,"serving":"RBBBBBBBBBB",
        "phases":[{"name":"starting","milliseconds":120},{"name":"shifting","milliseconds":4}]"#;
    let place = place();
    let starter = Starter {
        script: Mutex::new(deploying(
            promotion(Some("succeeded"), phases),
            Some("RBBBBBBBBBB"),
        )),
        ..Starter::default()
    };
    let ended = up(&place, &starter);
    let stderr = "\
Starting rack... OK
Packaging source... OK (TIME)
Directory: P/hello
App:       hello
Engine:    local
Manifest:  Procfile
Services:  web 1 (health: GET /), worker 0 (no port)
Creating app hello... OK
Uploading source... OK (TIME)
Starting build... OK
built in TIME
Promoting RBBBBBBBBBB... 
2026-01-01T00:00:01Z system/local/web.1 started
OK (starting 120 ms, shifting 4 ms)
Try: hoist ps -a hello
     hoist logs -a hello
Ctrl-C stops the rack and its apps
";
    let stdout =
        "Build:   BBBBBBBBBBB\nRelease: RBBBBBBBBBB\nUrl:     http://hello.localhost:8080\n";
    assert_eq!(without_times(&ended.stderr, &place), stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, stdout));
    let started = starter.started.lock().expect("a lock");
    let expected = RackOptions {
        data_dir: place.parent.path().join("data"),
        listen: SocketAddr::from(([127, 0, 0, 1], 4500)),
        router: SocketAddr::from(([127, 0, 0, 1], 8080)),
        engine: "local".to_owned(),
        domain: "localhost".to_owned(),
        name: None,
    };
    assert_eq!(*started, [expected]);
}

#[test]
fn a_rack_that_runs_already_is_deployed_to() {
    let place = place();
    let rack = Rack::start(deploying(
        promotion(Some("succeeded"), ""),
        Some("RBBBBBBBBBB"),
    ));
    rack.describe_in(&place.parent.path().join("data"));
    let starter = Starter::default();
    let ended = up(&place, &starter);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let first = format!(
        "a rack runs already: deploying to here at http://{}",
        rack.address
    );
    assert_eq!(ended.stderr.lines().next(), Some(first.as_str()));
    assert!(starter.started.lock().expect("a lock").is_empty());
}

#[test]
fn a_first_deploy_that_fails_stops_what_was_started() {
    let place = place();
    let starter = Starter {
        script: Mutex::new(deploying(promotion(Some("failed"), ""), None)),
        ..Starter::default()
    };
    let ended = up(&place, &starter);
    assert_eq!(ended.code, 4);
    assert!(
        ended.stderr.ends_with("Stopping rack and apps... OK\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(*starter.stopped.lock().expect("a lock"), [true]);
}

#[test]
fn while_something_serves_the_rack_stays_and_the_code_is_4() {
    let place = place();
    let starter = Starter {
        script: Mutex::new(deploying(rolled_back(), Some("RAAAAAAAAAA"))),
        ..Starter::default()
    };
    let ended = up(&place, &starter);
    assert_eq!(ended.code, 4);
    assert!(
        ended
            .stderr
            .ends_with("Ctrl-C stops the rack and its apps\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_port_that_is_taken_is_said_with_its_hint() {
    let place = place();
    let starter = Starter {
        refuses: true,
        ..Starter::default()
    };
    let ended = up(&place, &starter);
    let stderr = "\
Starting rack... 
ERROR: cannot listen on 127.0.0.1:4500: address in use
hint: choose another with --listen
";
    assert_eq!((ended.code, ended.stderr.as_str()), (1, stderr));
}

#[test]
fn a_rack_in_the_foreground_says_where_it_is() {
    let place = place();
    let starter = Starter::default();
    let arguments = [
        "rack",
        "start",
        "--listen",
        "127.0.0.1:0",
        "--name",
        "here",
        "--domain",
        "example.test",
    ];
    let ended = run_in(&place.environment, Some(&starter), &arguments);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("Router:  http://127.0.0.1:8080\n"),
        "{}",
        ended.stdout
    );
    let started = starter.started.lock().expect("a lock");
    assert_eq!(
        (started[0].name.as_deref(), started[0].domain.as_str()),
        (Some("here"), "example.test")
    );
}

#[test]
fn a_client_only_build_says_so() {
    let place = place();
    let ended = run_in(&place.environment, None, &["rack", "start"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .starts_with("ERROR: this build of hoist is a client only\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_a_dead_rack_left_is_stopped_without_it() {
    let place = place();
    let data_dir = place.parent.path().join("data");
    let starter = Starter::default();
    let stderr = "No rack runs; stopping what it left... OK, 3 processes and the router\n";
    let never = run_in(
        &place.environment,
        Some(&starter),
        &["rack", "stop", "--apps"],
    );
    assert_eq!((never.code, never.stderr.as_str()), (0, stderr));
    Rack::start(Vec::new()).describe_in(&data_dir);
    let died = run_in(
        &place.environment,
        Some(&starter),
        &["rack", "stop", "--apps"],
    );
    assert_eq!(
        (died.code, died.stderr.as_str()),
        (0, format!("Stopping rack and apps... \n{stderr}").as_str())
    );
    assert_eq!(
        *starter.stopped_apps.lock().expect("a lock"),
        [data_dir.clone(), data_dir]
    );
    let without = run_in(&place.environment, Some(&starter), &["rack", "stop"]);
    assert_eq!(without.code, 3);
}

#[test]
fn a_rack_is_stopped_through_its_api_and_waited_for() {
    let place = place();
    let rack = Rack::start(vec![
        (
            "POST /v1/rack/stop",
            json(202, rack_info().replace("\"pid\":0", "\"pid\":999999999")),
        ),
        ("GET /check", json(200, "{}")),
        (
            "GET /check",
            json(503, r#"{"code":"unavailable","message":"stopping"}"#),
        ),
    ]);
    rack.describe_in(&place.parent.path().join("data"));
    let ended = run_in(&place.environment, None, &["rack", "stop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("Stopping rack... OK\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(rack.requests()[0], r#"POST /v1/rack/stop {"apps":false}"#);
}

#[test]
fn another_rack_on_the_port_of_a_dead_one_is_not_taken_for_it() {
    let place = place();
    let other = Rack::start(Vec::new());
    let data_dir = place.parent.path().join("data");
    other.describe_in(&data_dir);
    std::fs::write(data_dir.join("token"), "of the dead one").expect("written");
    let starter = Starter {
        refuses: true,
        ..Starter::default()
    };
    let ended = up(&place, &starter);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("cannot listen on 127.0.0.1:4500"),
        "{}",
        ended.stderr
    );
    let stopped = run_in(
        &place.environment,
        Some(&starter),
        &["rack", "stop", "--apps"],
    );
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(*starter.stopped_apps.lock().expect("a lock"), [data_dir]);
}

#[test]
fn a_rack_that_a_url_names_is_never_replaced_by_one_here() {
    let place = place();
    let environment = Environment {
        url: Some("http://:t@127.0.0.1:1".into()),
        ..place.environment.clone()
    };
    let starter = Starter::default();
    assert_eq!(run_in(&environment, Some(&starter), &["up"]).code, 3);
    assert_eq!(
        run_in(&environment, Some(&starter), &["rack", "stop", "--apps"]).code,
        3
    );
    assert!(starter.started.lock().expect("a lock").is_empty());
    assert!(starter.stopped_apps.lock().expect("a lock").is_empty());
}
