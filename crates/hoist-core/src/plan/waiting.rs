//! What something in flight waits for, as data: a user can always ask.

use crate::id::{ServiceName, SlotId, Version, WorkloadId};
use crate::model::{Timestamp, Unready};

/// One thing waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A look that began after the last decision.
    Look {
        /// At what.
        part: Part,
    },
    /// The release command.
    ReleaseCommand {
        /// When it gives up.
        until: Timestamp,
    },
    /// The end of a release command that was told to stop.
    ReleaseCommandStop,
    /// A postdeploy script.
    Postdeploy {
        /// When it is ended, or no longer tried.
        until: Timestamp,
    },
    /// The end of a postdeploy script that was told to stop.
    PostdeployStop,
    /// Memory that old processes still hold.
    Memory {
        /// Needed bytes.
        needed_bytes: u64,
        /// Free bytes.
        free_bytes: u64,
    },
    /// A process to become ready.
    Ready {
        /// Which.
        slot: SlotId,
        /// What was found last; none when it was not seen or not probed yet.
        found: Option<Unready>,
        /// When it gives up.
        until: Timestamp,
    },
    /// The router to run a table that is newer than a decision.
    Router {
        /// The table must be newer than this.
        newer_than: Version,
        /// The table it runs.
        running: Version,
        /// When it gives up; none when it does not.
        until: Option<Timestamp>,
    },
    /// Requests of old processes to end.
    Drain {
        /// Requests in flight; none when the router's count says nothing.
        in_flight: Option<u32>,
        /// When it no longer waits.
        until: Timestamp,
    },
    /// A warm workload's time to pass.
    Warm {
        /// Which.
        workload: WorkloadId,
        /// When it passed.
        until: Timestamp,
    },
    /// The engine to be rid of workloads.
    Gone {
        /// Which it still holds.
        workloads: Vec<WorkloadId>,
        /// When it no longer waits; none when it must.
        until: Option<Timestamp>,
    },
    /// A process to be stopped and started again.
    Renewed {
        /// Which.
        slot: SlotId,
    },
    /// The highest processes of a service to be gone.
    Shrunk {
        /// Which.
        service: ServiceName,
    },
}

/// A part of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What the engine holds.
    Engine,
    /// What the probes found.
    Probes,
    /// What the router runs.
    Router,
}
