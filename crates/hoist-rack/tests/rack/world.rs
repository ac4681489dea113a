//! A rack that can crash and start again, and words for what tests ask of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hoist_core::id::{AppName, ReleaseId};
use hoist_core::model::PromotionKind;
use hoist_engine::sim::SimEngine;
use hoist_rack::commands::{Actor, BuildRequest, EnvUpdate, IfBusy, PromoteRequest};
use hoist_rack::store::{BuildStatus, PromotionRecord};
use hoist_rack::{Options, Rack, enter};
use hoist_router::control::RouterClient;
use hoist_router::{RouterConfig, router_main};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A rack on a temporary directory that can crash and start again.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: SimEngine,
    pub(crate) address: SocketAddr,
    pub(crate) rack: Option<Arc<Rack>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let config = RouterConfig {
            listen: address,
            dir: dir.path().join("data/router"),
            threads: 1,
        };
        std::fs::create_dir_all(&config.dir).expect("made");
        std::thread::spawn(move || router_main(config));
        let client = RouterClient::new(&dir.path().join("data/router"));
        for _ in 0..500 {
            if client.report().await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut world = Self {
            dir,
            engine: SimEngine::new(),
            address,
            rack: None,
        };
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        let entered = loop {
            // The rack before lets go of the directory with its last task.
            match enter(&self.dir.path().join("data")) {
                Ok(entered) => break entered,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let options = Options {
            data_dir: self.dir.path().join("data"),
            listen: self.address,
            router: self.address,
            domain: "localhost".to_owned(),
            name: "test".to_owned(),
            program: PathBuf::from("/nonexistent"),
            version: "0".to_owned(),
        };
        let engine = Arc::new(self.engine.reopen());
        self.rack = Some(Rack::start(entered, options, engine).await.expect("a rack"));
    }

    /// Ends the rack wherever it is, and starts it again.
    pub(crate) async fn crash(&mut self) {
        if let Some(rack) = self.rack.take() {
            rack.shut_down().await;
        }
        self.start().await;
    }

    pub(crate) fn rack(&self) -> &Arc<Rack> {
        self.rack.as_ref().expect("a running rack")
    }

    /// Builds a source of one `hoist.yml`; answers its release.
    pub(crate) async fn build(&self, app: &AppName, manifest: &str) -> ReleaseId {
        self.build_as(app, manifest, BuildRequest::default()).await
    }

    /// The same, as it is asked for.
    pub(crate) async fn build_as(
        &self,
        app: &AppName,
        manifest: &str,
        request: BuildRequest,
    ) -> ReleaseId {
        self.build_files(app, &[("hoist.yml", manifest)], request)
            .await
    }

    /// Builds a source of these files; answers its release.
    pub(crate) async fn build_files(
        &self,
        app: &AppName,
        files: &[(&str, &str)],
        request: BuildRequest,
    ) -> ReleaseId {
        let archive = self.dir.path().join("source.tar");
        write_archive(&archive, files);
        let build = self
            .rack()
            .start_build(app, &archive, request, &actor())
            .await;
        let build = build.expect("a build");
        for _ in 0..1_000 {
            let found = self.rack().build(app, &build.id).await.expect("the build");
            match found.status {
                BuildStatus::Running => tokio::time::sleep(Duration::from_millis(5)).await,
                BuildStatus::Complete => return found.release.expect("a release"),
                BuildStatus::Failed | BuildStatus::Cancelled => {
                    panic!("build failed: {:?}", found.reason)
                }
            }
        }
        panic!("the build does not end")
    }

    pub(crate) async fn promote(&self, app: &AppName, release: &ReleaseId) -> PromotionRecord {
        let begun = self
            .rack()
            .promote(app, request(release, IfBusy::Wait), &actor())
            .await;
        self.ended(app, begun.expect("a promotion")).await
    }

    pub(crate) async fn ended(&self, app: &AppName, begun: PromotionRecord) -> PromotionRecord {
        let wait = async {
            loop {
                let record = self
                    .rack()
                    .promotion(app, begun.number)
                    .await
                    .expect("the promotion");
                if record.ended.is_some() {
                    return record;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("every promotion ends")
    }

    pub(crate) fn active(&self, app: &AppName) -> Option<ReleaseId> {
        let entry = self.rack().app(app).expect("the app");
        entry
            .app
            .serving
            .as_ref()
            .map(|serving| serving.release.clone())
    }

    /// The status that the router answers for a host.
    pub(crate) async fn get(&self, host: &str) -> u16 {
        let (address, host) = (self.address, host.to_owned());
        let ask = move || {
            let mut stream = TcpStream::connect(address).expect("the router");
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read");
            answer
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0)
        };
        tokio::task::spawn_blocking(ask).await.expect("asked")
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

pub(crate) fn write_archive(path: &Path, files: &[(&str, &str)]) {
    let file = std::fs::File::create(path).expect("created");
    let mut tar = tar::Builder::new(file);
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes())
            .expect("appended");
    }
    tar.finish().expect("finished");
}

pub(crate) fn request(release: &ReleaseId, if_busy: IfBusy) -> PromoteRequest {
    PromoteRequest {
        release: release.clone(),
        kind: PromotionKind::Promote,
        if_busy,
        limit: None,
        only: None,
    }
}

pub(crate) fn setting(set: BTreeMap<String, String>, expected: Option<String>) -> EnvUpdate {
    EnvUpdate {
        set,
        expected,
        ..EnvUpdate::default()
    }
}

pub(crate) fn actor() -> Actor {
    Actor("test".to_owned())
}

pub(crate) fn web(script: &str) -> String {
    format!(
        "services:\n  web:\n    command: [\"{script}\"]\n    port: 3000\n    health: {{ path: /, grace: 2 }}\n"
    )
}

pub(crate) async fn created(world: &World) -> AppName {
    let app: AppName = "shop".parse().expect("a name");
    world.rack().create(&app, &actor()).await.expect("created");
    app
}
