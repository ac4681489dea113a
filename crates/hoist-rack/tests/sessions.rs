//! Ring 2 of one-offs and sessions: a whole rack with its real API and a real client; processes are scripts of the sim
//! engine.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hoist_api::ErrorCode;
use hoist_api::client::{CallError, Client, SessionEnds, Target};
use hoist_api::endpoints::{EventList, ExecCreate, ProcessList, RunCreate, SessionAttach};
use hoist_api::session::{Note, Piece, Received, Stream};
use hoist_api::types::{
    AppPath, BesidePath, Empty, Exec, ExecRequest, PageQuery, Process, Run, RunRequest,
    SessionExit, SessionPath, Terminal, TerminalSize,
};
use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::PromotionKind;
use hoist_engine::Engine;
use hoist_engine::sim::SimEngine;
use hoist_rack::commands::{Actor, BuildRequest, IfBusy, PromoteRequest};
use hoist_rack::store::BuildStatus;
use hoist_rack::{Options, Rack, api, enter};
use hoist_router::control::RouterClient;
use hoist_router::{RouterConfig, router_main};

const PATIENCE: Duration = Duration::from_secs(20);
/// Two services that run, and may be run in.
const MANIFEST: &str = "services:\n  web:\n    command: serve\n    port: 3000\n    termination:\n      grace: 1\n    environment:\n      - COLOUR=blue\n      - TERM=none\n  worker:\n    command: idle\n";

/// A rack with an app `shop`, that can crash and start again.
struct World {
    dir: tempfile::TempDir,
    engine: SimEngine,
    router: SocketAddr,
    rack: Option<Arc<Rack>>,
    server: Option<tokio::task::JoinHandle<()>>,
    client: Option<Client>,
    release: ReleaseId,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let free = StdListener::bind("127.0.0.1:0").expect("a port");
        let router = free.local_addr().expect("an address");
        drop(free);
        let config = RouterConfig {
            listen: router,
            dir: dir.path().join("data/router"),
            threads: 1,
        };
        std::fs::create_dir_all(&config.dir).expect("made");
        let control = RouterClient::new(&config.dir);
        std::thread::spawn(move || router_main(config));
        while control.report().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut world = Self {
            dir,
            engine: SimEngine::new(),
            router,
            rack: None,
            server: None,
            client: None,
            release: "RAAAAAAAAAA".parse().expect("an id"),
        };
        world.start().await;
        let app = app();
        world.rack().create(&app, &actor()).await.expect("created");
        world.release = world.deploy().await;
        world
    }

    async fn start(&mut self) {
        let data_dir = self.dir.path().join("data");
        let entered = loop {
            // The rack before lets go of the directory with its last task.
            match enter(&data_dir) {
                Ok(entered) => break entered,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let options = Options {
            data_dir,
            listen: self.router,
            router: self.router,
            domain: "localhost".to_owned(),
            name: "test".to_owned(),
            program: PathBuf::from("/nonexistent"),
            version: "0".to_owned(),
        };
        let rack = Rack::start(entered, options, Arc::new(self.engine.reopen())).await;
        let rack = rack.expect("a rack");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        self.server = Some(tokio::spawn(api::serve(rack.clone(), listener)));
        self.rack = Some(rack);
        let token = std::fs::read_to_string(self.dir.path().join("data/token")).expect("a token");
        let target = Target::parse(&format!("http://{address}")).expect("a URL");
        self.client = Some(Client::new(target.with_token(token.trim())));
    }

    /// Ends the rack, and starts it again.
    async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        if let Some(rack) = self.rack.take() {
            rack.shut_down().await;
        }
        self.start().await;
    }

    fn rack(&self) -> &Arc<Rack> {
        self.rack.as_ref().expect("a running rack")
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("a running rack")
    }

    async fn deploy(&self) -> ReleaseId {
        let archive = self.dir.path().join("source.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&archive).expect("created"));
        let mut header = tar::Header::new_gnu();
        header.set_size(MANIFEST.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "hoist.yml", MANIFEST.as_bytes())
            .expect("appended");
        tar.finish().expect("finished");
        let (app, rack) = (app(), self.rack());
        let build = rack
            .start_build(&app, &archive, BuildRequest::default(), &actor())
            .await;
        let build = build.expect("a build");
        let release = loop {
            let found = rack.build(&app, &build.id).await.expect("the build");
            match found.status {
                BuildStatus::Running => tokio::time::sleep(Duration::from_millis(5)).await,
                BuildStatus::Complete => break found.release.expect("a release"),
                BuildStatus::Failed => panic!("build failed: {:?}", found.reason),
            }
        };
        let request = PromoteRequest {
            release: release.clone(),
            kind: PromotionKind::Promote,
            if_busy: IfBusy::Wait,
            limit: None,
            only: None,
        };
        let number = rack
            .promote(&app, request, &actor())
            .await
            .expect("a promotion")
            .number;
        while rack
            .promotion(&app, number)
            .await
            .expect("the promotion")
            .ended
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        release
    }

    async fn begin(&self, request: RunRequest) -> Result<Run, CallError> {
        self.client()
            .call::<RunCreate>(&path(), &Empty {}, &request)
            .await
    }

    async fn attach(&self, session: String) -> Result<SessionEnds, CallError> {
        self.client()
            .attach::<SessionAttach>(&SessionPath { session })
            .await
    }

    /// Runs a script attached, with this input; answers its output, its errors and how it ended.
    async fn run(&self, script: &str, input: &[u8]) -> (String, String, SessionExit) {
        let run = self.begin(attached(script)).await.expect("a one-off");
        let ends = self
            .attach(run.session.expect("a session"))
            .await
            .expect("attached");
        carry(ends, input).await.expect("an exit")
    }

    async fn listed(&self) -> Vec<Process> {
        let list = self
            .client()
            .call::<ProcessList>(&path(), &Empty {}, &Empty {})
            .await;
        let mut items = list.expect("a list").items;
        items.retain(|process| process.one_off);
        items
    }

    async fn events(&self) -> Vec<String> {
        let list = self
            .client()
            .call::<EventList>(&path(), &PageQuery::default(), &Empty {})
            .await;
        list.expect("a list")
            .items
            .into_iter()
            .map(|event| event.text)
            .collect()
    }

    async fn tasks(&self) -> usize {
        self.engine.observe().await.expect("a look").tasks.len()
    }

    /// Waits until nothing of one-offs is left, neither in the list nor on the engine.
    async fn nothing_left(&self) {
        until("nothing is left", async || {
            self.listed().await.is_empty() && self.tasks().await == 0
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let client = RouterClient::new(&self.dir.path().join("data/router"));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let _ = runtime.map(|runtime| runtime.block_on(client.stop()));
        });
    }
}

fn app() -> AppName {
    "shop".parse().expect("a name")
}

fn path() -> AppPath {
    AppPath {
        app: "shop".to_owned(),
    }
}

fn actor() -> Actor {
    Actor("test".to_owned())
}

fn detached(script: &str) -> RunRequest {
    RunRequest {
        service: "web".to_owned(),
        command: vec![script.to_owned()],
        ..RunRequest::default()
    }
}

fn attached(script: &str) -> RunRequest {
    RunRequest {
        attach: true,
        ..detached(script)
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// Sends the input and reads to the end; none when the session ends without an exit.
async fn carry(
    (mut reader, mut writer): SessionEnds,
    input: &[u8],
) -> Option<(String, String, SessionExit)> {
    let send = async {
        let mut piece = Piece::default();
        for bytes in input.chunks(100_000) {
            piece.space()[..bytes.len()].copy_from_slice(bytes);
            piece.set_filled(bytes.len());
            writer.send(Stream::Input, &mut piece).await.ok()?;
        }
        writer.note(&Note::InputEnd).await.ok()
    };
    let receive = async {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        loop {
            match reader.next().await.ok()? {
                Received::Piece(Stream::Output, bytes) => output.extend(bytes),
                Received::Piece(Stream::Errors, bytes) => errors.extend(bytes),
                Received::Note(Note::Exit(exit)) => {
                    let text = |bytes| String::from_utf8(bytes).expect("text");
                    return Some((text(output), text(errors), exit));
                }
                Received::Note(_) | Received::Ping(_) | Received::Piece(..) => {}
                Received::Closed => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(send, receive).1 })
        .await
        .expect("a session ends")
}

fn code(exit: &SessionExit) -> Option<i32> {
    exit.code
}

fn refusal<T>(answer: Result<T, CallError>) -> (ErrorCode, String) {
    let error = answer.err().expect("a refusal");
    let body = error
        .refusal()
        .unwrap_or_else(|| panic!("no refusal: {error}"));
    (body.code, body.message.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_off_has_its_streams_its_exit_and_its_record() {
    let world = World::new().await;
    let (output, errors, exit) = world.run("say out; cry err; exit 3", b"").await;
    assert_eq!(
        (output.as_str(), errors.as_str(), code(&exit)),
        ("out\n", "err\n", Some(3))
    );
    let (_, _, exit) = world.run("die 9", b"").await;
    assert_eq!((exit.code, exit.signal), (Some(137), Some(9)));
    let (_, errors, exit) = world.run("dance", b"").await;
    assert_eq!(exit.code, Some(127));
    assert!(
        exit.reason
            .is_some_and(|reason| reason.contains("could not be executed"))
    );
    assert!(errors.contains("dance"), "{errors}");
    let input: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let (output, _, exit) = world.run("echo; exit 4", input.as_bytes()).await;
    assert!(
        output == input && exit.code == Some(4),
        "{} bytes",
        output.len()
    );
    world.nothing_left().await;
    let events = world.events().await;
    assert!(
        events
            .iter()
            .any(|text| text.ends_with("of web: say out; cry err; exit 3")),
        "{events:?}"
    );
    assert!(
        events.iter().any(|text| text.ends_with("exited with 3")),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_the_variables_of_its_service_but_no_port() {
    let world = World::new().await;
    let script = "print COLOUR; print SERVICE; print RELEASE; print PORT; print TERM; tty";
    let (output, _, _) = world.run(script, b"").await;
    let release = world.release.as_str();
    let expected = ["blue", "web", release, "unset", "none", "no terminal", ""].join("\n");
    assert_eq!(output, expected);
    let terminal = |columns, rows| Terminal {
        size: TerminalSize { columns, rows },
        term: Some("xterm".to_owned()),
    };
    let request = RunRequest {
        terminal: Some(terminal(0, 0)),
        ..attached("print TERM; tty; resized; exit 2")
    };
    let run = world.begin(request).await.expect("a one-off");
    let (mut reader, mut writer) = world
        .attach(run.session.expect("a session"))
        .await
        .expect("attached");
    let mut output = String::new();
    while !output.ends_with("terminal 80x24\r\n") {
        if let Received::Piece(Stream::Output, bytes) = reader.next().await.expect("output") {
            output.push_str(std::str::from_utf8(bytes).expect("text"));
        }
    }
    assert_eq!(output, "xterm\r\nterminal 80x24\r\n");
    writer
        .note(&Note::Resize(terminal(99, 33).size))
        .await
        .expect("sent");
    let (output, _, exit) = carry((reader, writer), b"").await.expect("an exit");
    assert_eq!(
        (output.as_str(), exit.code),
        ("terminal 99x33\r\n", Some(2))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_before_anything_starts() {
    let world = World::new().await;
    let refused = async |request: RunRequest| refusal(world.begin(request).await);
    let (code, message) = refused(RunRequest {
        service: "nope".to_owned(),
        ..attached("idle")
    })
    .await;
    assert_eq!(code, ErrorCode::ServiceNotFound);
    assert!(
        message.ends_with("no service `nope`: it has web, worker"),
        "{message}"
    );
    for (request, expected) in [
        (
            RunRequest {
                release: Some("RAAAAAAAAAA".to_owned()),
                ..attached("idle")
            },
            ErrorCode::ReleaseNotFound,
        ),
        (
            RunRequest {
                release: Some("1".to_owned()),
                ..attached("idle")
            },
            ErrorCode::InvalidName,
        ),
        (
            RunRequest {
                command: Vec::new(),
                ..attached("idle")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            RunRequest {
                shell: true,
                command: vec!["a".to_owned(), "b".to_owned()],
                ..attached("")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            RunRequest {
                terminal: Some(Terminal::default()),
                ..detached("idle")
            },
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(refused(request.clone()).await.0, expected, "{request:?}");
    }
    let bare: AppName = "bare".parse().expect("a name");
    world.rack().create(&bare, &actor()).await.expect("created");
    let at = |app: &str| AppPath {
        app: app.to_owned(),
    };
    for (app, expected) in [
        ("bare", ErrorCode::NothingActive),
        ("none", ErrorCode::AppNotFound),
    ] {
        let run = world
            .client()
            .call::<RunCreate>(&at(app), &Empty {}, &attached("idle"))
            .await;
        assert_eq!(refusal(run).0, expected);
    }
    assert_eq!(world.tasks().await, 0);
    assert_eq!(
        refusal(world.attach("0".repeat(32)).await).0,
        ErrorCode::SessionNotFound
    );
    // A session has one client.
    let session = world
        .begin(attached("idle"))
        .await
        .expect("a one-off")
        .session
        .expect("a session");
    let _held = world.attach(session.clone()).await.expect("attached");
    assert_eq!(
        refusal(world.attach(session).await).0,
        ErrorCode::SessionNotFound
    );
    // A release whose slug is gone.
    for entry in std::fs::read_dir(world.dir.path().join("data/apps/shop/slugs")).expect("slugs") {
        std::fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
    assert_eq!(
        refused(attached("idle")).await.0,
        ErrorCode::BuildNotComplete
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_sessions_than_the_limit() {
    let world = World::new().await;
    let mut held = Vec::new();
    for _ in 0..hoist_core::limits::SESSIONS_MAX {
        held.push(world.begin(attached("idle")).await.expect("a one-off"));
    }
    assert_eq!(
        refusal(world.begin(attached("idle")).await).0,
        ErrorCode::TooManySessions
    );
    let session = held.pop().and_then(|run| run.session).expect("a session");
    drop(world.attach(session).await.expect("attached"));
    until("a place comes free", async || {
        world.begin(attached("idle")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_beside_a_process() {
    let world = World::new().await;
    let all = world
        .client()
        .call::<ProcessList>(&path(), &Empty {}, &Empty {})
        .await;
    let all = all.expect("a list").items;
    let web = all
        .iter()
        .find(|process| process.name == "web")
        .expect("web");
    let exec = async |process: &str, script: &str| -> Result<Exec, CallError> {
        let path = BesidePath {
            app: "shop".to_owned(),
            process: process.to_owned(),
        };
        let request = ExecRequest {
            command: vec![script.to_owned()],
            ..ExecRequest::default()
        };
        world
            .client()
            .call::<ExecCreate>(&path, &Empty {}, &request)
            .await
    };
    let unlike = (1..12).find(|length| {
        all.iter()
            .filter(|other| other.id.starts_with(&web.id[..*length]))
            .count()
            == 1
    });
    let prefix = &web.id[..unlike.unwrap_or(12)];
    for name in [web.id.as_str(), prefix, "web"] {
        let begun = exec(name, "print SERVICE; exit 6").await.expect(name);
        assert_eq!(begun.process, web.id);
        let ends = world.attach(begun.session).await.expect("attached");
        let (output, _, exit) = carry(ends, b"").await.expect("an exit");
        assert_eq!((output.as_str(), exit.code), ("web\n", Some(6)));
    }
    let starts: BTreeSet<_> = all.iter().map(|process| &process.id[..1]).collect();
    if starts.len() < all.len() {
        let message = refusal(exec(starts.first().expect("one"), "idle").await).1;
        assert!(message.contains("several"), "{message}");
    }
    for name in ["nope", "", "0123456789ab"] {
        let path = BesidePath {
            app: "shop".to_owned(),
            process: name.to_owned(),
        };
        let request = ExecRequest {
            command: vec!["idle".to_owned()],
            ..ExecRequest::default()
        };
        let answer = world
            .client()
            .call::<ExecCreate>(&path, &Empty {}, &request)
            .await;
        assert!(answer.is_err(), "{name}");
    }
    // Beside a one-off, whose end is the command's too.
    let one_off = world
        .begin(detached("idle"))
        .await
        .expect("a one-off")
        .process
        .id;
    let begun = exec(&one_off, "idle").await.expect("begun");
    let ends = world.attach(begun.session).await.expect("attached");
    let id = one_off.parse().expect("an id");
    assert!(world.rack().stop_one_off(&app(), &id).await.expect("told"));
    let (_, _, exit) = carry(ends, b"").await.expect("an exit");
    assert_ne!(exit.code, None);
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_takes_the_process_along() {
    let world = World::new().await;
    for script in ["idle", "stubborn; idle", "flood 100000000"] {
        let run = world.begin(attached(script)).await.expect("a one-off");
        let ends = world
            .attach(run.session.expect("a session"))
            .await
            .expect("attached");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.listed().await.len(), 1, "{script}");
        drop(ends);
        world.nothing_left().await;
    }
    // One that never comes.
    let began = std::time::Instant::now();
    let run = world.begin(attached("idle")).await.expect("a one-off");
    until("it is stopped", async || {
        world
            .listed()
            .await
            .iter()
            .all(|process| process.id != run.process.id)
    })
    .await;
    assert!(
        began.elapsed() >= Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    let session = run.session.expect("a session");
    assert_eq!(
        refusal(world.attach(session).await).0,
        ErrorCode::SessionNotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ended_before_its_client_came_still_tells_everything() {
    let world = World::new().await;
    let run = world
        .begin(attached("say early; exit 7"))
        .await
        .expect("a one-off");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ends = world
        .attach(run.session.expect("a session"))
        .await
        .expect("attached");
    let (output, _, exit) = carry(ends, b"unread").await.expect("an exit");
    assert_eq!((output.as_str(), exit.code), ("early\n", Some(7)));
    let (_, _, exit) = world.run("exit 0", &vec![b'x'; 3_000_000]).await;
    assert_eq!(exit.code, Some(0));
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rack_that_restarts_ends_the_attached_and_follows_the_rest() {
    let mut world = World::new().await;
    let ends = {
        let run = world.begin(attached("idle")).await.expect("a one-off");
        world
            .attach(run.session.expect("a session"))
            .await
            .expect("attached")
    };
    let waits = world.begin(attached("idle")).await.expect("a one-off");
    let ended = world
        .begin(detached("wait 1500; exit 5"))
        .await
        .expect("a one-off")
        .process
        .id;
    let goes_on = world
        .begin(detached("idle"))
        .await
        .expect("a one-off")
        .process
        .id;
    assert_eq!(world.listed().await.len(), 4);
    let read = tokio::spawn(carry(ends, b""));
    world.restart().await;
    let (_, _, exit) = read.await.expect("read").expect("an exit");
    assert_eq!(
        (exit.code, exit.reason.as_deref()),
        (None, Some("the rack is stopping"))
    );
    until("the attached and the ended are gone", async || {
        let listed = world.listed().await;
        listed.len() == 1 && listed[0].id == goes_on
    })
    .await;
    let events = world.events().await;
    assert!(
        events.contains(&format!("one-off {ended} exited with 5")),
        "{events:?}"
    );
    assert!(
        events
            .iter()
            .any(|text| text.starts_with(&format!("one-off {} ", waits.process.id)))
    );
    assert_eq!(world.tasks().await, 1);
    world
        .rack()
        .delete(&app(), "shop", false, &actor())
        .await
        .expect("told");
    until("nothing is left", async || world.tasks().await == 0).await;
}
