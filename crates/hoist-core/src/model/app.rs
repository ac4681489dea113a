//! An app: what is asked for, what serves, and what is in flight.

use std::collections::BTreeMap;

use super::{Millis, Promotion, Release, Timestamp};
use crate::id::{AppName, ReleaseId, ServiceName, Version, WorkloadId};

/// All of an app that decisions read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Drawn at each commit: a commit on another generation is refused.
    pub generation: Version,
    /// Drawn at the last commit that may change routes: a router that runs a table at least this new has let go of
    /// what that commit took away.
    pub routes_since: Version,
    /// The releases that the fields below name; no others.
    pub releases: BTreeMap<ReleaseId, Release>,
    /// Desired size of each service, whatever the release. A service that is missing has its manifest's count.
    pub sizes: BTreeMap<ServiceName, u16>,
    /// Whether it is meant to run.
    pub standing: Standing,
    /// What serves.
    pub serving: Option<Serving>,
    /// Workloads on their way out: warm for a quick rollback, or still draining.
    pub retiring: BTreeMap<WorkloadId, Retiring>,
    /// At most one at a time, by construction.
    pub promotion: Option<Promotion>,
    /// Changes of size under way.
    pub resizes: BTreeMap<ServiceName, Resize>,
    /// The limit of a promotion from its begin to the switch.
    pub promotion_limit: Millis,
}

/// Whether an app is meant to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs, as far as it was ever deployed.
    Up,
    /// A user stops it: traffic leaves, requests finish, processes go.
    Stopping {
        /// Drawn at the commit that began it.
        since: Version,
        /// When that was.
        entered: Timestamp,
    },
    /// A user stopped it; it stays so until a user starts it.
    Stopped,
    /// It is being deleted: nothing brings it back.
    Deleting {
        /// Drawn at the commit that began it.
        since: Version,
        /// When that was.
        entered: Timestamp,
    },
}

/// What serves: a release, and for each service the workload that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The active release.
    pub release: ReleaseId,
    /// The promotion that made it so.
    pub promotion: Version,
    /// Service to workload; an earlier attempt's where it was kept. Empty while the app is stopped.
    pub workloads: BTreeMap<ServiceName, Workload>,
}

/// A workload that an engine holds, and the release it was started from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its name on the engine.
    pub id: WorkloadId,
    /// The release it was started from; its `RELEASE` says so for as long as it lives.
    pub release: ReleaseId,
}

/// A workload on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retiring {
    /// The release it was started from.
    pub release: ReleaseId,
    /// How many slots it keeps until it goes.
    pub slots: u16,
    /// When it goes at the latest.
    pub until: Timestamp,
    /// Kept for a quick rollback (true), or only until its requests ended (false).
    pub warm: bool,
}

/// A change of a service's size while its release stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// The size before, which comes back when the new one fails.
    pub from: u16,
    /// The size asked for.
    pub to: u16,
    /// Drawn at the commit that began it.
    pub since: Version,
    /// When that was.
    pub entered: Timestamp,
}
