//! One look at reality, in three parts that are looked at apart: engine, probes, router.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Timestamp;
use crate::id::{ProcessId, Slot, SlotId, Version, WorkloadId};

/// What was seen. Each part carries the number drawn from the rack's sequence *before* that look began, so that
/// "newer than this commit" is a comparison of numbers and not of clocks. Whoever hands looks to the planner never hands
/// an older one after a newer one of the same part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// What the engine holds.
    pub engine: EngineLook,
    /// What the probes found.
    pub probes: ProbeLook,
    /// What the router runs.
    pub router: RouterLook,
}

/// Everything an engine holds for this rack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineLook {
    /// Drawn before the look.
    pub look: Version,
    /// Processes per workload and slot. A workload without processes is listed while the engine still has anything of it.
    pub workloads: BTreeMap<WorkloadId, BTreeMap<Slot, Process>>,
    /// Release commands by the promotion they belong to.
    pub release_commands: BTreeMap<Version, TaskStatus>,
    /// Postdeploy scripts by the promotion they belong to.
    pub postdeploys: BTreeMap<Version, TaskStatus>,
    /// Workloads that the engine refused for good when they were last applied, with its words for users.
    pub refused: BTreeMap<WorkloadId, String>,
    /// Memory in bytes that new processes may take; none when unknown.
    pub memory_free_bytes: Option<u64>,
}

/// One process of a slot, as the engine reports it. Never "ready": that is the probes' word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Names the supervisor of the slot; stays over restarts.
    pub id: ProcessId,
    /// Where it was told to listen; none when it has no port.
    pub address: Option<SocketAddr>,
    /// Whether it runs.
    pub state: ProcessState,
    /// How many times its policy started it again.
    pub restarts: u32,
    /// The last exit of an earlier incarnation, when there was one.
    pub last_exit: Option<Exit>,
    /// When the present incarnation started, on the wall clock.
    pub started: Timestamp,
}

/// Names one life of a process: another one is another process, whoever started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its supervisor.
    pub process: ProcessId,
    /// How often that had started it again before.
    pub restarts: u32,
    /// When it started.
    pub started: Timestamp,
}

impl Process {
    /// The life that it has now.
    pub fn life(&self) -> Life {
        Life {
            process: self.id.clone(),
            restarts: self.restarts,
            started: self.started,
        }
    }
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It ended and its policy waits before the next start, or will not start it again.
    Exited(Exit),
    /// It was told to stop and has not ended.
    Stopping,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit status; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What is known beyond the number.
    pub cause: ExitCause,
    /// When, on the wall clock.
    pub at: Timestamp,
}

/// Why a process ended, where the number does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// By itself or by a signal.
    Own,
    /// The kernel killed it for its memory limit.
    OutOfMemory,
    /// Its command could not be executed at all.
    ExecFailed,
    /// Its supervisor died and took it along.
    Lost,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// It runs.
    Running,
    /// It ended.
    Ended(Exit),
}

/// What probing the processes from outside found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeLook {
    /// Drawn before the oldest answer in it.
    pub look: Version,
    /// Verdict per slot; a slot that is missing was not probed yet. A verdict is of the incarnation the engine part names.
    pub slots: BTreeMap<SlotId, Probe>,
    /// Slots whose liveness check failed as often as their service allows, with what it found last. Like a verdict, of the
    /// life that the engine part names.
    pub dead: BTreeMap<SlotId, Unready>,
}

/// A probe's verdict on one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It may take requests (or, without a port, has run long enough).
    Ready,
    /// Not yet, or no longer.
    Unready(Unready),
    /// It cannot get better by waiting.
    Hopeless(Unready),
}

/// Why a process is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// It does not run.
    NotRunning,
    /// Nothing accepts on its port.
    NotListening,
    /// It listens, but on these ports and not on the one it was given.
    ListensElsewhere {
        /// Ports it listens on.
        ports: Vec<u16>,
        /// The port it was given as `PORT`.
        wanted: u16,
    },
    /// It accepts, but its answer is not good: the status, or what went wrong instead of one.
    BadAnswer {
        /// The path that was asked.
        path: String,
        /// The status, when one came.
        status: Option<u16>,
    },
    /// Its check command did not exit 0.
    CheckFailed {
        /// The command's exit status.
        code: i32,
    },
    /// It has no port and has not run long enough.
    TooYoung,
}

/// What the router says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouterLook {
    /// Drawn before the look.
    pub look: Version,
    /// Names one life of the router's process. Counts of requests begin at 0 with it.
    pub incarnation: u64,
    /// The table it runs and has on disk.
    pub version: Version,
    /// Workload slots that the running table names.
    pub routed: BTreeSet<SlotId>,
    /// Plain requests in flight per slot; slots without any are left out.
    pub in_flight: BTreeMap<SlotId, u32>,
}
