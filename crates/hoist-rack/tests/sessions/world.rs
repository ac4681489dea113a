//! A rack with its real API, a client, and an app to run commands in.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hoist_api::ErrorCode;
use hoist_api::client::{CallError, Client, SessionEnds, Target};
use hoist_api::endpoints::{EventList, ProcessList, RunCreate, SessionAttach};
use hoist_api::session::{Note, Piece, Received, Stream};
use hoist_api::types::{
    AppPath, Empty, PageQuery, Process, Run, RunRequest, SessionExit, SessionPath,
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

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Two services that run, and may be run in.
pub(crate) const MANIFEST: &str = "services:\n  web:\n    command: serve\n    port: 3000\n    termination:\n      grace: 1\n    environment:\n      - COLOUR=blue\n      - TERM=none\n  worker:\n    command: idle\n";

/// A rack with an app `shop`, that can crash and start again.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: SimEngine,
    router: SocketAddr,
    rack: Option<Arc<Rack>>,
    server: Option<tokio::task::JoinHandle<()>>,
    client: Option<Client>,
    pub(crate) release: ReleaseId,
}

impl World {
    pub(crate) async fn new() -> Self {
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

    pub(crate) async fn start(&mut self) {
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
    pub(crate) async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        if let Some(rack) = self.rack.take() {
            rack.shut_down().await;
        }
        self.start().await;
    }

    pub(crate) fn rack(&self) -> &Arc<Rack> {
        self.rack.as_ref().expect("a running rack")
    }

    pub(crate) fn client(&self) -> &Client {
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
                BuildStatus::Failed | BuildStatus::Cancelled => {
                    panic!("build failed: {:?}", found.reason)
                }
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

    pub(crate) async fn begin(&self, request: RunRequest) -> Result<Run, CallError> {
        self.client()
            .call::<RunCreate>(&path(), &Empty {}, &request)
            .await
    }

    pub(crate) async fn attach(&self, session: String) -> Result<SessionEnds, CallError> {
        self.client()
            .attach::<SessionAttach>(&SessionPath { session })
            .await
    }

    /// Runs a script attached, with this input; answers its output, its errors and how it ended.
    pub(crate) async fn run(&self, script: &str, input: &[u8]) -> (String, String, SessionExit) {
        let run = self.begin(attached(script)).await.expect("a one-off");
        let ends = self
            .attach(run.session.expect("a session"))
            .await
            .expect("attached");
        carry(ends, input).await.expect("an exit")
    }

    pub(crate) async fn listed(&self) -> Vec<Process> {
        let list = self
            .client()
            .call::<ProcessList>(&path(), &Empty {}, &Empty {})
            .await;
        let mut items = list.expect("a list").items;
        items.retain(|process| process.one_off);
        items
    }

    pub(crate) async fn events(&self) -> Vec<String> {
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

    pub(crate) async fn tasks(&self) -> usize {
        self.engine.observe().await.expect("a look").tasks.len()
    }

    /// Waits until nothing of one-offs is left, neither in the list nor on the engine.
    pub(crate) async fn nothing_left(&self) {
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

pub(crate) fn app() -> AppName {
    "shop".parse().expect("a name")
}

pub(crate) fn path() -> AppPath {
    AppPath {
        app: "shop".to_owned(),
    }
}

pub(crate) fn actor() -> Actor {
    Actor("test".to_owned())
}

pub(crate) fn detached(script: &str) -> RunRequest {
    RunRequest {
        service: "web".to_owned(),
        command: vec![script.to_owned()],
        ..RunRequest::default()
    }
}

pub(crate) fn attached(script: &str) -> RunRequest {
    RunRequest {
        attach: true,
        ..detached(script)
    }
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
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
pub(crate) async fn carry(
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

pub(crate) fn code(exit: &SessionExit) -> Option<i32> {
    exit.code
}

pub(crate) fn refusal<T>(answer: Result<T, CallError>) -> (ErrorCode, String) {
    let error = answer.err().expect("a refusal");
    let body = error
        .refusal()
        .unwrap_or_else(|| panic!("no refusal: {error}"));
    (body.code, body.message.clone())
}
