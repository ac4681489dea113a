//! The trait that every engine implements, and the values that cross it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hoist_core::id::{AppName, BuildId, ProcessId, ReleaseId, Slot, SlotId, Version, WorkloadId};
use hoist_core::model::{Process, TaskStatus};
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

    /// The TCP ports that the process and its children listen on, for the sentence that helps.
    async fn listening(&self, slot: &SlotId) -> Result<Vec<u16>, EngineError>;

    /// What each process uses, with its children. An engine that cannot tell leaves processes out.
    async fn usage(&self) -> Result<BTreeMap<SlotId, Usage>, EngineError> {
        Ok(BTreeMap::new())
    }

    /// Notified whenever something may have changed. A hint carries no data: the answer is a full [`Engine::observe`],
    /// and losing all hints costs latency and nothing else.
    fn hints(&self) -> Arc<Notify>;
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

/// What a process is started with.
#[derive(Clone)]
pub struct ProcessSpec {
    /// The command, ready to execute; the first word is looked up in the process's own `PATH`.
    pub argv: Vec<String>,
    /// All variables. Only engines open the values, and only on the way into a process.
    pub env: Vec<(String, Secret)>,
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
