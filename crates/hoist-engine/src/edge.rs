//! The trait that every engine implements, and the values that cross it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hoist_core::id::{AppName, BuildId, ProcessId, ReleaseId, Slot, SlotId, Version, WorkloadId};
use hoist_core::model::{Exit, Process, TaskStatus, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

/// Keeps workloads running somewhere, and tells the truth about them.
///
/// Every method is idempotent and may be called again after a crash of the rack at any point.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What this engine can do on this machine; fixed at start-up.
    fn capabilities(&self) -> &Capabilities;

    /// Everything that this engine holds for this rack. The only source of truth.
    async fn observe(&self) -> Result<Seen, EngineError>;

    /// Holds slots 1..=`slots` of `spec` from now on. Idempotent.
    ///
    /// Returns when accepted, not when ready: readiness is probed from outside. Slots above `slots` are told to stop
    /// (signal, grace, kill) and then forgotten. A slot that exists is never touched, whatever `spec` says.
    async fn apply(&self, spec: &WorkloadSpec, slots: u16) -> Result<(), EngineError>;

    /// Stops (signal, the workload's own grace, kill) and forgets a workload. Idempotent; absent is success.
    /// Returns when accepted: `observe` lists the workload until nothing of it is left.
    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError>;

    /// Starts a task at most once per [`TaskId`], for ever. Idempotent.
    async fn run(&self, spec: &TaskSpec) -> Result<(), EngineError>;

    /// Stops a task: the signal, its grace, kill. Idempotent; ended or absent is success.
    async fn stop_task(&self, id: &TaskId) -> Result<(), EngineError>;

    /// Forgets an ended task and all that belonged to it. Idempotent; absent is success, running is refused.
    async fn forget_task(&self, id: &TaskId) -> Result<(), EngineError>;

    /// Runs a command beside a running process, in its namespaces, limits, user and environment, without input and with
    /// its output thrown away; answers its exit status. For health checks by command.
    async fn check(
        &self,
        slot: &SlotId,
        argv: &[String],
        limit: Duration,
    ) -> Result<i32, EngineError>;

    /// Starts a task whose streams the caller holds. At most once per [`TaskId`], for ever: a second call is refused.
    ///
    /// Its output goes to the caller alone and into no log. When the session is dropped, the process meets closed
    /// streams (a terminal hangs up); [`SessionControl::stop`] or [`Engine::stop_task`] ends it for sure.
    async fn run_attached(&self, spec: &TaskSpec, streams: Streams)
    -> Result<Session, EngineError>;

    /// Runs a command beside a running process, in its namespaces, limits, user and environment, with its streams in the
    /// caller's hands. It ends at the latest with the process that it runs beside.
    ///
    /// [`EngineError::NotFound`] when that process does not run (any more).
    async fn exec(
        &self,
        beside: &Beside,
        spec: &ExecSpec,
        streams: Streams,
    ) -> Result<Session, EngineError>;

    /// Stops one process of a workload (signal, its grace, kill) and starts it again in the same slot, at once and without
    /// a count against it. Returns when accepted. Idempotent while it stops; absent is [`EngineError::NotFound`].
    async fn restart_slot(&self, slot: &SlotId) -> Result<(), EngineError>;

    /// The TCP ports that the process and its children listen on, for the sentence that helps.
    async fn listening(&self, slot: &SlotId) -> Result<Vec<u16>, EngineError>;

    /// What each process uses, with its children. An engine that cannot tell leaves processes out.
    async fn usage(&self) -> Result<BTreeMap<SlotId, Usage>, EngineError> {
        Ok(BTreeMap::new())
    }

    /// What each running task uses, with its children. An engine that cannot tell leaves tasks out.
    async fn task_usage(&self) -> Result<BTreeMap<TaskId, Usage>, EngineError> {
        Ok(BTreeMap::new())
    }

    /// Notified whenever something may have changed. A hint carries no data: the answer is a full [`Engine::observe`],
    /// and losing all hints costs latency and nothing else.
    fn hints(&self) -> Arc<Notify>;
}

/// What a command runs beside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// A process of a workload.
    Slot(SlotId),
    /// A task: a one-off.
    Task(TaskId),
}

/// A command that runs beside a process.
#[derive(Clone)]
pub struct ExecSpec {
    /// The command, ready to execute; the first word is looked up in the process's own `PATH`.
    pub argv: Vec<String>,
    /// Variables beyond those of the process, and before them where both name one: `TERM`.
    pub env: Vec<(String, Secret)>,
}

/// How the streams of an attached process are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Three pipes; every byte passes as it is.
    Pipes,
    /// A terminal that the process controls; its errors come out with its output.
    Terminal(TerminalSize),
}

/// The size of a terminal in cells; never 0 × 0, which programs cannot draw on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    columns: u16,
    rows: u16,
}

impl TerminalSize {
    /// A size; a side of 0 is unknown and reads as that of a terminal of 80 × 24.
    pub fn new(columns: u16, rows: u16) -> Self {
        let known = |side, usual| if side == 0 { usual } else { side };
        Self {
            columns: known(columns, 80),
            rows: known(rows, 24),
        }
    }

    /// Characters per line.
    pub fn columns(self) -> u16 {
        self.columns
    }

    /// Lines.
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// The streams of a process that runs attached.
pub struct Session {
    /// What it reads. Dropping this is the end of its input; on a terminal dropping says nothing, Ctrl-D does.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it writes. Ends when nobody can write any more.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// What it writes to standard error; none on a terminal.
    pub errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// The rest that can be done to it.
    pub control: Arc<dyn SessionControl>,
}

/// What can be done to an attached process beside reading and writing.
#[async_trait]
pub trait SessionControl: Send + Sync + 'static {
    /// Tells the terminal its size; without a terminal nothing happens.
    fn resize(&self, size: TerminalSize) -> Result<(), EngineError>;

    /// Waits until it ended. May be cancelled and called again.
    async fn exit(&self) -> Result<Exit, EngineError>;

    /// Interrupts it as Ctrl-C on a terminal does. Returns when accepted; an engine that cannot stops it.
    async fn interrupt(&self) -> Result<(), EngineError> {
        self.stop().await
    }

    /// Ends it for good: hang-up and the stop signal, its grace, kill. Returns when accepted. Idempotent.
    async fn stop(&self) -> Result<(), EngineError>;
}

/// What an engine can do here. Shown by `hoist doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's name: `local`, `docker`, `kubernetes`, `sim`.
    pub engine: &'static str,
    /// Whether workloads survive a restart of the rack.
    pub survives_rack_restart: bool,
    /// Kinds of isolation, each there or not with the reason: pid, mount, ipc, uts, user, memory, cpu, pids, network.
    pub isolation: Vec<Isolation>,
}

/// One kind of isolation between processes of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Which: `pid`, `mount`, `memory`, …
    pub kind: &'static str,
    /// Whether processes get it.
    pub present: bool,
    /// By what it is given, or why it is not.
    pub by: String,
}

/// One look of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Processes per workload and slot. A workload with nothing left of it is not listed.
    pub workloads: BTreeMap<WorkloadId, BTreeMap<Slot, Process>>,
    /// Tasks that were started and not forgotten.
    pub tasks: BTreeMap<TaskId, TaskStatus>,
    /// What tasks show as: the process id that logs carry.
    pub task_processes: BTreeMap<TaskId, ProcessId>,
    /// When tasks started, on the wall clock.
    pub task_started: BTreeMap<TaskId, Timestamp>,
    /// Memory in bytes that new processes may take; none when unknown.
    pub memory_free_bytes: Option<u64>,
}

/// What a process and its children use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since it started, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory now, in bytes.
    pub memory_bytes: u64,
}

/// One immutable workload.
#[derive(Clone)]
pub struct WorkloadSpec {
    /// Its name.
    pub id: WorkloadId,
    /// The release it runs, for display.
    pub release: ReleaseId,
    /// What a process is started with.
    pub process: ProcessSpec,
    /// Whether the engine chooses a port, sets `PORT` and reports an address.
    pub port: bool,
    /// What happens when a process ends.
    pub restart: RestartPolicy,
}

/// Where programs are looked up when no variable says.
pub const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// What a process is started with.
#[derive(Clone)]
pub struct ProcessSpec {
    /// The command, ready to execute; the first word is looked up in the process's own `PATH`.
    pub argv: Vec<String>,
    /// All variables. Only engines open the values, and only on the way into a process.
    pub env: Vec<(String, Secret)>,
    /// Directories of the tree that come first in `PATH`, whatever the variables say.
    pub path: Vec<String>,
    /// The tree that shows as `/app`.
    pub tree: Tree,
    /// Persistent directories: (directory of the host, path inside).
    pub volumes: Vec<(PathBuf, String)>,
    /// Memory limit in bytes; 0 for none.
    pub memory_bytes: u64,
    /// CPU limit in thousandths of a core; 0 for none.
    pub cpu_millicores: u64,
    /// Most processes and threads at once; 0 for the engine's default.
    pub pids_max: u64,
    /// Gives way to others where CPU time is short.
    pub background: bool,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// Where log files go; the engine names the file `<source>.<process id>.log`.
    pub log_dir: PathBuf,
    /// The source in log lines: `service/web`, `release`, `build`.
    pub log_source: String,
    /// Bytes of log kept per process before the oldest go.
    pub log_bytes_max: u64,
}

/// The tree that shows as `/app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// An immutable directory below a writable layer that ends with the process.
    Slug(PathBuf),
    /// A directory that the process changes: a build's.
    Writable(PathBuf),
}

/// What happens when a process of a workload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Start it again, after a growing pause (100 ms doubling to 30 s, back to the first after 60 s of running).
    Always,
    /// Leave it.
    Never,
}

/// Names a task for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskId {
    /// The release command of a promotion.
    ReleaseCommand(AppName, Version),
    /// The postdeploy script of a promotion.
    Postdeploy(AppName, Version),
    /// A build's command.
    Build(AppName, BuildId),
    /// A one-off.
    OneOff(AppName, ProcessId),
}

/// A command that runs once, to completion.
#[derive(Clone)]
pub struct TaskSpec {
    /// Its name.
    pub id: TaskId,
    /// What it is started with.
    pub process: ProcessSpec,
    /// When it is killed at the latest.
    pub limit: Duration,
}

/// Readable only on purpose: no `Debug`, `Display` or `Serialize`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Opens it; call only on the way into a process.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What an engine can answer instead. Whether to try again is part of the type.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot be reached, or the machine refuses for now: try again.
    #[error("the engine could not {doing}")]
    Unavailable {
        /// What it was doing.
        doing: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It will never do this.
    #[error("the engine refused to {doing}: {why}")]
    Refused {
        /// What was asked.
        doing: String,
        /// Why not, for users.
        why: String,
    },
    /// There is no such process.
    #[error("there is no such process")]
    NotFound,
}

impl EngineError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
