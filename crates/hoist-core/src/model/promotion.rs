//! One attempt to make a release live.

use std::collections::BTreeMap;

use super::{Exit, Limits, Millis, Timestamp, Unready, Workload};
use crate::id::{ReleaseId, ServiceName, SlotId, Version};

/// One attempt to make a release live, in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Names the attempt for ever; drawn from the rack's sequence.
    pub number: Version,
    /// The release it wants live.
    pub target: ReleaseId,
    /// What was asked for.
    pub kind: PromotionKind,
    /// What happens to each service of the target.
    pub services: BTreeMap<ServiceName, Planned>,
    /// Where it stands.
    pub phase: Phase,
    /// Drawn at the commit that entered the phase: looks and tables must be newer to be evidence about it.
    pub since: Version,
    /// When the phase was entered.
    pub entered: Timestamp,
    /// When it began.
    pub began: Timestamp,
    /// When the whole of it, up to the switch, gives up.
    pub deadline: Timestamp,
    /// Somebody wants it ended, and as what.
    pub cancel: Option<Cancel>,
}

/// What a promotion was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromotionKind {
    /// Make a release live: every service anew.
    Promote,
    /// Go back to a release: what is still warm is kept.
    Rollback,
    /// The same release again, every service anew or one of them.
    Restart,
    /// Bring a stopped app back.
    Start,
}

/// Who ends a promotion early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// A user.
    ByUser,
    /// A newer promotion.
    BySuperseding,
}

/// What a promotion does with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// A new workload, named by this attempt.
    Replace {
        /// Its size, frozen when the promotion began so that the gate does not move.
        slots: u16,
        /// What an operator wanted of its limits then.
        limits: Limits,
    },
    /// A running or warm workload of an earlier attempt stays.
    Keep {
        /// Which.
        workload: Workload,
        /// Its size when the promotion began.
        slots: u16,
    },
}

/// Where a promotion stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The release command runs.
    Preparing,
    /// New workloads of `surge` services exist; traffic is still on the old ones.
    Starting,
    /// Surge services passed: `replace` services stop, start and pass, their requests held.
    Replacing(ReplaceStep),
    /// All passed: traffic is meant to be on the target; the router has not confirmed.
    Shifting,
    /// The router confirmed; old processes finish what they have.
    Draining,
    /// It failed, and is going back.
    RollingBack {
        /// How far it got.
        step: BackStep,
        /// Why.
        reason: Reason,
        /// Every step so far did what it should. One that ran out of time makes the outcome `failed`.
        complete: bool,
    },
}

/// The steps of replacing what must not run twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceStep {
    /// The router holds new requests; the old processes finish what they have.
    Draining,
    /// The old processes are told to stop.
    Stopping,
    /// The old processes are gone: the new ones start and pass the gate.
    Starting,
}

/// The steps of going back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackStep {
    /// Old processes that were stopped come up again.
    Restoring,
    /// The router takes the old processes again.
    ShiftingBack,
    /// The attempt's own processes go.
    Removing,
}

/// Why a promotion did not succeed. Each says what a user must know to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The release command ended with another status than 0.
    ReleaseCommandFailed(Exit),
    /// A process exited too often before it was ready.
    ExitedBeforeReady {
        /// The process.
        slot: SlotId,
        /// How often it exited.
        times: u32,
        /// Its last exit.
        exit: Exit,
    },
    /// A process ended in a way that starting again cannot mend: exec failed or out of memory.
    CannotRun {
        /// The process.
        slot: SlotId,
        /// Its exit.
        exit: Exit,
    },
    /// A process runs but is not what was asked for, and waiting does not help (it listens elsewhere).
    Hopeless {
        /// The process.
        slot: SlotId,
        /// What was found.
        found: Unready,
    },
    /// A process was not ready within its service's start limit.
    NotReadyInTime {
        /// The process.
        slot: SlotId,
        /// What was found last; none when it was never seen.
        found: Option<Unready>,
        /// The limit.
        limit: Millis,
    },
    /// The whole took longer than allowed; the phase it was in.
    DeadlineExceeded {
        /// What it was doing.
        during: PhaseName,
        /// The limit.
        limit: Millis,
    },
    /// The machine has less memory free than the new processes may take.
    NoCapacity {
        /// Needed bytes.
        needed_bytes: u64,
        /// Free bytes.
        free_bytes: u64,
    },
    /// The target was ready and then was not.
    LostHealth {
        /// The service that has no ready process left.
        service: ServiceName,
    },
    /// The engine refused a workload for good.
    Refused {
        /// The service.
        service: ServiceName,
        /// The engine's words.
        message: String,
    },
    /// Somebody ended it.
    Cancelled(Cancel),
}

impl Phase {
    /// The phase's name alone.
    pub fn name(&self) -> PhaseName {
        match self {
            Self::Preparing => PhaseName::Preparing,
            Self::Starting => PhaseName::Starting,
            Self::Replacing(_) => PhaseName::Replacing,
            Self::Shifting => PhaseName::Shifting,
            Self::Draining => PhaseName::Draining,
            Self::RollingBack { .. } => PhaseName::RollingBack,
        }
    }
}

/// A phase's name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseName {
    /// See [`Phase::Preparing`].
    Preparing,
    /// See [`Phase::Starting`].
    Starting,
    /// See [`Phase::Replacing`].
    Replacing,
    /// See [`Phase::Shifting`].
    Shifting,
    /// See [`Phase::Draining`].
    Draining,
    /// See [`Phase::RollingBack`].
    RollingBack,
}

/// How a promotion ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target serves.
    Succeeded,
    /// What served before serves again.
    RolledBack(Reason),
    /// There was nothing to go back to, or going back failed.
    Failed(Reason),
    /// A newer promotion took its place.
    Superseded,
    /// A user ended it.
    Cancelled,
}
