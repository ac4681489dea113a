//! One rack: what it is made of, how it starts, and how it ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hoist_core::model::Timestamp;
use hoist_engine::Engine;
use hoist_router::control::RouterClient;
use tokio::sync::{Mutex, RwLock, watch};
use tokio_util::task::TaskTracker;

use crate::auth::Tokens;
use crate::clock::{BootClock, Clock, wall};
use crate::control::{Controller, Parts};
use crate::error::RackError;
use crate::layout::Layout;
use crate::pulse::Pulses;
use crate::releases::Releases;
use crate::router_process::RouterProcess;
use crate::runs::Runs;
use crate::secrets::{Keyring, SecretError};
use crate::sequence::Sequence;
use crate::store::Store;
use crate::usage::Sampler;

/// How to start a rack. Frozen once it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Where its API listens; port 0 means any.
    pub listen: SocketAddr,
    /// Where its router listens; port 0 means any.
    pub router: SocketAddr,
    /// Apps are reached at `<app>.<domain>`.
    pub domain: String,
    /// Its name.
    pub name: String,
    /// The program that routers and shims are started from: this one.
    pub program: PathBuf,
    /// Its version, for display.
    pub version: String,
}

/// What a rack was told about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Stop apps and router too.
    pub apps: bool,
}

/// A rack that runs. Everything in it is shared by handlers; tasks end with [`Rack::shut_down`].
pub struct Rack {
    /// How it was started; the addresses are the real ones.
    pub options: Options,
    /// Its files.
    pub layout: Layout,
    /// When it started, on the wall clock.
    pub started: Timestamp,
    pub(crate) store: Arc<Store>,
    pub(crate) sequence: Arc<Sequence>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) tokens: Tokens,
    pub(crate) sampler: Sampler,
    /// What its loops last did.
    pub(crate) pulses: Arc<Pulses>,
    /// One-offs and sessions.
    pub(crate) runs: Runs,
    /// Held while a release is made from its base, so that two at once do not start from the same.
    pub(crate) env_changes: Mutex<()>,
    /// Held for reading while slugs are streamed to a client: who removes slugs takes it, or leaves them for later.
    pub(crate) exports: Arc<RwLock<()>>,
    pub(crate) build_turns: crate::build::Turns,
    pub(crate) retention: crate::retention::Retention,
    /// Builds that run, and who wants one to end.
    pub(crate) build_stops: Arc<crate::build::Stops>,
    /// Sessions, and builds that run: these are cut off at the end and marked failed at the next start.
    pub(crate) tasks: TaskTracker,
    stop: watch::Sender<Option<Stop>>,
    /// The lock on the data directory; let go when the rack is dropped.
    _lock: File,
}

/// A rack's data directory, entered and locked: the first step of a start, because engines keep their state inside.
pub struct Entered {
    layout: Layout,
    lock: File,
}

/// Makes the data directory if need be, and makes sure that no other rack runs on it.
pub fn enter(data_dir: &Path) -> Result<Entered, RackError> {
    let layout = Layout::new(data_dir);
    let doing = || format!("use the data directory {}", data_dir.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(RackError::io(doing()))?;
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(layout.lock())
        .map_err(RackError::io(doing()))?;
    if lock.try_lock().is_err() {
        let mut holder = String::new();
        let _ = lock.read_to_string(&mut holder);
        return Err(RackError::Busy {
            data_dir: data_dir.to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    lock.set_len(0).map_err(RackError::io(doing()))?;
    let holder = format!("process {}\n", std::process::id());
    lock.write_all(holder.as_bytes())
        .map_err(RackError::io(doing()))?;
    crate::backup::sweep(data_dir);
    Ok(Entered { layout, lock })
}

impl Entered {
    /// The files of the rack to be.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Rack {
    /// Starts everything but the API: store, router, control loop. What ran before goes on.
    pub async fn start(
        entered: Entered,
        mut options: Options,
        engine: Arc<dyn Engine>,
    ) -> Result<Arc<Self>, RackError> {
        let Entered { layout, lock } = entered;
        let (store, meta) = Store::open(&layout.store())?;
        let store = Arc::new(store);
        let clock: Arc<dyn Clock> = Arc::new(BootClock::new(meta.last_committed));
        let sequence = Arc::new(Sequence::open(store.clone(), &meta)?);
        if !layout.key().exists() && store.has_environments()? {
            // A new key would open none of them.
            return Err(SecretError::KeyMissing(layout.key()).into());
        }
        let keyring = Arc::new(Keyring::open(&layout.key())?);
        let tokens = Tokens::open(&layout.token())?;
        let router = RouterProcess {
            program: options.program.clone(),
            dir: layout.router(),
            listen: options.router,
            ended: Arc::default(),
        };
        options.router = router.ensure().await?.listen;
        let router = RouterProcess {
            listen: options.router,
            ..router
        };
        let releases = Arc::new(Releases::new(
            store.clone(),
            keyring,
            layout.clone(),
            options.name.clone(),
        ));
        let controller = Arc::new(Controller::new(Parts {
            store: store.clone(),
            sequence: sequence.clone(),
            clock: clock.clone(),
            engine: engine.clone(),
            router: RouterClient::new(&layout.router()),
            releases: releases.clone(),
            layout: layout.clone(),
            domain: options.domain.clone(),
        }));
        let runs = Runs::open(&store).await?;
        let rack = Arc::new(Self {
            options,
            layout,
            started: wall(),
            store,
            sequence,
            clock,
            engine,
            releases,
            controller,
            tokens,
            sampler: Sampler::default(),
            pulses: Arc::default(),
            runs,
            env_changes: Mutex::new(()),
            exports: Arc::default(),
            build_turns: crate::build::Turns::default(),
            retention: crate::retention::Retention::default(),
            build_stops: Arc::default(),
            tasks: TaskTracker::new(),
            stop: watch::Sender::new(None),
            _lock: lock,
        });
        crate::build::clean_up(&rack).await?;
        rack.spawn(rack.controller.clone().run());
        rack.spawn(router.keep(rack.pulses.clone()));
        rack.spawn(crate::janitor::run(Arc::downgrade(&rack)));
        rack.spawn(crate::retention::run(Arc::downgrade(&rack)));
        rack.spawn(crate::usage::run(Arc::downgrade(&rack)));
        rack.spawn(crate::runs::follow(Arc::downgrade(&rack)));
        Ok(rack)
    }

    /// Runs a task until the rack ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stop.wait_for(Option::is_some) => {}
            }
        });
    }

    /// Tells the rack to end. Idempotent.
    pub fn request_stop(&self, stop: Stop) {
        self.stop.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(stop);
            first
        });
    }

    /// Whether somebody told the rack to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Waits until somebody told the rack to end.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.stop.subscribe();
        let told = stop.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|told| *told)
            .unwrap_or(Stop { apps: false })
    }

    /// Ends the tasks and forgets the address. Apps and router go on unless `stop_apps` of the engine is called after.
    pub async fn shut_down(&self) {
        self.request_stop(Stop { apps: false });
        self.tasks.close();
        // Builds are not waited for: a rack must end when it is told to.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        let _ = fs::remove_file(self.layout.address());
    }

    /// Writes where the rack is reached, for clients on the same machine.
    pub fn announce(&self, listen: SocketAddr) -> Result<(), RackError> {
        let address = serde_json::json!({
            "name": self.options.name,
            "version": self.options.version,
            "listen": listen.to_string(),
            "router": self.options.router.to_string(),
            "domain": self.options.domain,
            "engine": self.engine.capabilities().engine,
            "pid": std::process::id(),
        });
        let doing = "write rack.json";
        let path = self.layout.address();
        let new = path.with_extension("json.new");
        fs::write(&new, format!("{address:#}\n")).map_err(RackError::io(doing))?;
        fs::rename(&new, &path).map_err(RackError::io(doing))
    }
}
