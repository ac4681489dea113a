//! Apps as supervised, isolated processes of the machine itself. Needs nothing but our own binary.
//!
//! A process is a state directory whose lock a shim holds (`shim`). The rack writes directories, starts shims, reads what
//! they write, and keeps nothing in memory: it can die at any point and find everything again. See `layout` for what lies
//! where.

mod attach;
mod capabilities;
mod cgroup;
mod client;
mod layout;
mod nursery;
mod observe;
mod ports;
mod proc;
mod record;
mod session;
mod shim;
mod start;
mod stop;
mod tree;
mod uids;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hoist_core::id::{AppName, ProcessId, SlotId, WorkloadId};
use tokio::net::UnixDatagram;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::{
    Beside, Capabilities, Engine, EngineError, ExecSpec, RestartPolicy, Seen, Session, Streams,
    TaskId, TaskSpec, Usage, WorkloadSpec,
};
use attach::Far;
use layout::{Layout, STATE, is_marked};
use nursery::Nursery;
use observe::Standing;
use record::{PROTOCOL, Phase, State};
use session::TaskControl;
use shim::{Answer, Found, Request};
use start::Start;
use stop::Stops;

pub use shim::shim_main;
pub use stop::stop_everything;

/// What a check is answered with when its limit passed, as `timeout` does.
const TIMED_OUT: i32 = 124;
/// What a shim gets beyond a check's own limit to answer.
const CHECK_MARGIN: Duration = Duration::from_secs(2);

/// How the local engine is set up; fixed while it is open.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The rack's data directory; the engine's state lies below it.
    pub data_dir: PathBuf,
    /// Ports that no process may be given: the rack's own and the router's.
    pub reserved_ports: Vec<u16>,
    /// Toolchains outside `/usr` that processes may read, at the same place.
    pub read_only: Vec<PathBuf>,
    /// The first of the users that apps run as, where the rack is root.
    pub first_uid: u32,
    /// What runs as the shim.
    pub shim: ShimCommand,
    /// The most isolation to use.
    pub ceiling: Ceiling,
}

impl LocalConfig {
    /// The usual configuration below a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            reserved_ports: Vec::new(),
            read_only: Vec::new(),
            first_uid: 700_000,
            shim: ShimCommand::default(),
            ceiling: Ceiling::Everything,
        }
    }
}

/// What runs as the shim: a program that hands its arguments to [`shim_main`] when the first one is `shim`.
#[derive(Debug, Clone)]
pub struct ShimCommand {
    /// The program; the running binary itself unless told otherwise.
    pub program: PathBuf,
}

impl Default for ShimCommand {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
        }
    }
}

/// The most isolation that is used. Machines that refuse some of it get less by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// All that the machine gives.
    Everything,
    /// No cgroups: no limits on memory, CPU and processes.
    NoCgroups,
    /// Plain children: no namespaces and no cgroups.
    Plain,
}

/// The engine itself. Dropping it leaves all processes running.
pub struct LocalEngine {
    inner: Arc<Inner>,
    capabilities: Capabilities,
    hints: Arc<Notify>,
    /// The same hints, for any number of sessions.
    changed: watch::Receiver<()>,
    /// Hears the shims; ends with the engine.
    listener: JoinHandle<()>,
    stops: Stops,
}

/// What blocking work needs.
struct Inner {
    config: LocalConfig,
    layout: Layout,
    found: Found,
    nursery: Nursery,
    /// One maker at a time: ports and users are given out under it.
    making: Mutex<()>,
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl LocalEngine {
    /// Opens the engine: finds out what the machine gives, takes over what runs and goes on with stops that a crash
    /// interrupted. Must be called within a tokio runtime; blocks for some tens of milliseconds.
    pub fn open(config: LocalConfig) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: "open the local engine".to_owned(),
            source,
        };
        let runtime = Handle::try_current().map_err(|error| failed(io::Error::other(error)))?;
        let layout = Layout::new(&std::path::absolute(&config.data_dir).map_err(failed)?);
        layout.prepare().map_err(failed)?;
        let found = capabilities::find(&config, &layout).map_err(failed)?;
        let capabilities = capabilities::describe(&found, &config);
        let hints = Arc::new(Notify::new());
        let (change, changed) = watch::channel(());
        let listener = listen(&layout, Arc::clone(&hints), change).map_err(failed)?;
        let stops = Stops {
            hints: Arc::clone(&hints),
            runtime,
            waited_for: Arc::default(),
        };
        let nursery = Nursery::new(config.shim.clone());
        let inner = Arc::new(Inner {
            config,
            layout,
            found,
            nursery,
            making: Mutex::new(()),
        });
        let engine = Self {
            inner,
            capabilities,
            hints,
            changed,
            listener,
            stops,
        };
        engine.resume_stops().map_err(failed)?;
        Ok(engine)
    }

    /// Shims of an older protocol than this binary's: they still work, and go with the next promotion of their app.
    pub async fn older_shims(&self) -> Result<Vec<ProcessId>, EngineError> {
        self.blocking("look at the supervisors", |inner| {
            let dirs = inner.layout.all_slots()?.into_iter().map(|(_, dir)| dir);
            let states = dirs.filter_map(|dir| record::read::<State>(&dir.join(STATE)).ok());
            let older = states.filter(|state| state.protocol < PROTOCOL);
            Ok(older
                .filter_map(|state| state.process.parse().ok())
                .collect())
        })
        .await
    }

    fn resume_stops(&self) -> io::Result<()> {
        let slots = self
            .inner
            .layout
            .all_slots()?
            .into_iter()
            .map(|(_, dir)| dir);
        let tasks = self
            .inner
            .layout
            .all_tasks()?
            .into_iter()
            .map(|(_, dir)| dir);
        for dir in slots
            .chain(tasks)
            .filter(|dir| is_marked(dir) && layout::is_held(dir))
        {
            self.stops.see_to(dir);
        }
        Ok(())
    }

    async fn stop_above(&self, id: &WorkloadId, slots: u16) -> Result<(), EngineError> {
        let id = id.clone();
        let shrink = move |inner: &Inner| inner.shrink(&id, slots);
        for dir in self.blocking("stop a workload", shrink).await? {
            self.stops.see_to(dir);
        }
        Ok(())
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, EngineError> {
        let doing = doing.to_owned();
        self.engine_work(move |inner| {
            work(inner).map_err(|source| EngineError::Unavailable { doing, source })
        })
        .await
    }

    async fn engine_work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| {
            let (doing, source) = ("finish".to_owned(), io::Error::other(error));
            Err(EngineError::Unavailable { doing, source })
        })
    }
}

/// Hears "look again" from shims.
fn listen(
    layout: &Layout,
    hints: Arc<Notify>,
    change: watch::Sender<()>,
) -> io::Result<JoinHandle<()>> {
    const NAME: &str = "hints.sock";
    let _ = fs::remove_file(layout.root().join(NAME));
    let socket = client::through(layout.root(), |root| UnixDatagram::bind(root.join(NAME)))?;
    Ok(tokio::spawn(async move {
        let mut nothing = [0; 8];
        loop {
            match socket.recv(&mut nothing).await {
                Ok(_) => {
                    change.send_replace(());
                    hints.notify_one();
                }
                Err(error) => {
                    tracing::warn!(%error, "hints of the supervisors cannot be heard");
                    tokio::time::sleep(CHECK_MARGIN).await;
                }
            }
        }
    }))
}

/// Locks, also after a panic of another holder: what these protect is valid at any time.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a directory is once that is decided.
///
/// One whose lock is held and of which nothing was executed is on its way: a shim is about to begin, or the rack
/// before us died and somebody still holds its lock for a moment.
fn settled(look: impl Fn() -> io::Result<Standing>) -> io::Result<Standing> {
    const PAUSE: Duration = Duration::from_millis(2);
    const ROUNDS: usize = 1_000;
    for _ in 0..ROUNDS {
        match look()? {
            Standing::Held(state) if state.phase == Phase::Made => std::thread::sleep(PAUSE),
            decided => return Ok(decided),
        }
    }
    look()
}

impl Inner {
    /// Marks the slots of a workload above `slots`, the highest first; answers their directories.
    fn shrink(&self, id: &WorkloadId, slots: u16) -> io::Result<Vec<PathBuf>> {
        let mut leaving = self.layout.all_slots()?;
        leaving.retain(|(slot, _)| slot.workload == *id && slot.slot > slots);
        leaving.sort();
        let dirs: Vec<PathBuf> = leaving.into_iter().rev().map(|(_, dir)| dir).collect();
        for dir in &dirs {
            layout::mark(dir)?;
        }
        Ok(dirs)
    }

    /// Makes what is missing of the slots 1..=`slots`.
    fn grow(&self, spec: &WorkloadSpec, slots: u16) -> Result<(), EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: format!("hold {}", spec.id),
            source,
        };
        for slot in 1..=slots {
            let _one_at_a_time = locked(&self.making);
            let id = SlotId {
                workload: spec.id.clone(),
                slot,
            };
            let dir = self.layout.slot(&id);
            let marked = is_marked(&dir);
            let standing = settled(|| observe::slot(&self.layout, &dir, marked));
            let after = match standing.map_err(failed)? {
                Standing::Gone => None,
                Standing::Left(state) if spec.restart == RestartPolicy::Always => {
                    // Its shim died: that is no decision of anybody's, so it is held again.
                    self.layout.discard(&dir).map_err(failed)?;
                    Some(state)
                }
                Standing::Left(_) | Standing::Held(_) => continue,
            };
            let start = Start {
                dir,
                id: None,
                app: &spec.id.app,
                process: &spec.process,
                port: spec.port,
                restart: spec.restart == RestartPolicy::Always,
                limit: None,
                after,
                attached: None,
            };
            start::start(self, &start)?;
        }
        Ok(())
    }

    /// Starts a task, unless it ever was; answers whether it did.
    fn start_task(&self, spec: &TaskSpec, attached: Option<Far>) -> Result<bool, EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: "start a task".to_owned(),
            source,
        };
        let _one_at_a_time = locked(&self.making);
        let dir = self.layout.task(&spec.id);
        if !matches!(
            settled(|| observe::task(&self.layout, &dir)).map_err(failed)?,
            Standing::Gone
        ) {
            return Ok(false);
        }
        let (TaskId::ReleaseCommand(app, _)
        | TaskId::Postdeploy(app, _)
        | TaskId::Build(app, _)
        | TaskId::OneOff(app, _)) = &spec.id;
        let app: &AppName = app;
        let id = match &spec.id {
            TaskId::OneOff(_, id) => Some(id),
            TaskId::ReleaseCommand(..) | TaskId::Postdeploy(..) | TaskId::Build(..) => None,
        };
        let start = Start {
            dir,
            id,
            app,
            process: &spec.process,
            port: false,
            restart: false,
            limit: Some(spec.limit),
            after: None,
            attached,
        };
        start::start(self, &start)
    }

    fn running(&self, slot: &SlotId) -> Result<(PathBuf, State), EngineError> {
        let dir = self.layout.slot(slot);
        let state = record::read::<State>(&dir.join(STATE))
            .ok()
            .filter(|_| layout::is_held(&dir));
        state.map(|state| (dir, state)).ok_or(EngineError::NotFound)
    }

    fn check(&self, slot: &SlotId, argv: Vec<String>, limit: Duration) -> Result<i32, EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: "run a check".to_owned(),
            source,
        };
        let (dir, _) = self.running(slot)?;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Check { argv, limit_ms };
        match client::ask(&dir, &request, limit + CHECK_MARGIN).map_err(failed)? {
            Answer::Exit(code) => Ok(code),
            Answer::TimedOut => Ok(TIMED_OUT),
            Answer::NotRunning => Err(EngineError::NotFound),
            Answer::Failed(why) => Err(failed(io::Error::other(why))),
            _ => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }
}

#[async_trait]
impl Engine for LocalEngine {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn observe(&self) -> Result<Seen, EngineError> {
        self.blocking("look at the processes", |inner| {
            let _one_at_a_time = locked(&inner.making);
            observe::look(&inner.layout)
        })
        .await
    }

    async fn apply(&self, spec: &WorkloadSpec, slots: u16) -> Result<(), EngineError> {
        self.stop_above(&spec.id, slots).await?;
        let spec = spec.clone();
        self.engine_work(move |inner| inner.grow(&spec, slots))
            .await
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.stop_above(id, 0).await
    }

    async fn run(&self, spec: &TaskSpec) -> Result<(), EngineError> {
        let spec = spec.clone();
        let start = move |inner: &Inner| inner.start_task(&spec, None);
        self.engine_work(start).await.map(|_| ())
    }

    async fn stop_task(&self, id: &TaskId) -> Result<(), EngineError> {
        let dir = self.inner.layout.task(id);
        let marked = dir.clone();
        self.blocking("stop a task", move |_| layout::mark(&marked))
            .await?;
        self.stops.see_to(dir);
        Ok(())
    }

    async fn forget_task(&self, id: &TaskId) -> Result<(), EngineError> {
        let id = id.clone();
        self.engine_work(move |inner| {
            let failed = |source| EngineError::Unavailable {
                doing: "forget a task".to_owned(),
                source,
            };
            let _one_at_a_time = locked(&inner.making);
            let dir = inner.layout.task(&id);
            match observe::task(&inner.layout, &dir).map_err(failed)? {
                Standing::Gone => Ok(()),
                Standing::Left(_) => inner.layout.discard(&dir).map_err(failed),
                Standing::Held(_) => {
                    let (doing, why) = ("forget a task".to_owned(), "it still runs".to_owned());
                    Err(EngineError::Refused { doing, why })
                }
            }
        })
        .await
    }

    async fn check(
        &self,
        slot: &SlotId,
        argv: &[String],
        limit: Duration,
    ) -> Result<i32, EngineError> {
        let (slot, argv) = (slot.clone(), argv.to_vec());
        self.engine_work(move |inner| inner.check(&slot, argv, limit))
            .await
    }

    async fn run_attached(
        &self,
        spec: &TaskSpec,
        streams: Streams,
    ) -> Result<Session, EngineError> {
        let dir = self.inner.layout.task(&spec.id);
        let spec = spec.clone();
        let run = move |inner: &Inner| session::run(inner, &spec, streams);
        let settled = self.engine_work(run).await?;
        let control = |screen| TaskControl {
            dir,
            screen,
            stops: self.stops.clone(),
            changed: self.changed.clone(),
        };
        settled
            .session(control)
            .map_err(|source| EngineError::Unavailable {
                doing: "attach".to_owned(),
                source,
            })
    }

    async fn exec(
        &self,
        beside: &Beside,
        spec: &ExecSpec,
        streams: Streams,
    ) -> Result<Session, EngineError> {
        let dir = match beside {
            Beside::Slot(slot) => self.inner.layout.slot(slot),
            Beside::Task(task) => self.inner.layout.task(task),
        };
        let spec = spec.clone();
        let exec = move |_: &Inner| session::exec(&dir, &spec, streams);
        self.engine_work(exec).await?.session()
    }

    async fn restart_slot(&self, slot: &SlotId) -> Result<(), EngineError> {
        let dir = self.inner.layout.slot(slot);
        self.engine_work(move |_| session::restart(&dir)).await
    }

    async fn listening(&self, slot: &SlotId) -> Result<Vec<u16>, EngineError> {
        let slot = slot.clone();
        self.engine_work(move |inner| {
            let (_, state) = inner.running(&slot)?;
            Ok(proc::listening(&observe::members(&state)))
        })
        .await
    }

    async fn usage(&self) -> Result<BTreeMap<SlotId, Usage>, EngineError> {
        self.blocking("measure the processes", |inner| {
            observe::usage(&inner.layout)
        })
        .await
    }

    async fn task_usage(&self) -> Result<BTreeMap<TaskId, Usage>, EngineError> {
        self.blocking("measure the tasks", |inner| {
            observe::task_usage(&inner.layout)
        })
        .await
    }

    fn hints(&self) -> Arc<Notify> {
        Arc::clone(&self.hints)
    }
}

/// Where a process's state is, for tests that must reach its shim.
#[doc(hidden)]
pub fn state_dir_of(data_dir: &Path, slot: &SlotId) -> PathBuf {
    Layout::new(data_dir).slot(slot)
}
