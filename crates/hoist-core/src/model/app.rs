//! An app: what is asked for, what serves, and what is in flight.

use std::collections::BTreeMap;

use super::{Life, Millis, Promotion, Release, Timestamp};
use crate::id::{AppName, ReleaseId, ServiceName, SlotId, Version, WorkloadId};

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
    /// Sizes that an operator set, whatever the release. A service that is missing follows its manifest's count.
    pub sizes: BTreeMap<ServiceName, u16>,
    /// Limits that an operator set. New workloads take them; those that run keep what they were started with.
    pub limits: BTreeMap<ServiceName, Limits>,
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
    /// Processes that are started again, one by one, while their release stays.
    pub renewals: BTreeMap<SlotId, Renewal>,
    /// Scripts of promotions that succeeded, until they were seen to have ended: one after the other, oldest first.
    pub postdeploys: BTreeMap<Version, Postdeploy>,
    /// How often processes were started again because they no longer lived.
    pub revived: BTreeMap<SlotId, Revived>,
    /// The limit of a promotion from its begin to the switch.
    pub promotion_limit: Millis,
    /// The router's life that the app last took note of: counts of requests are worth only what it counted itself.
    pub router: RouterLife,
    /// The last promotion failed and there is nothing to go back to.
    pub failed: bool,
}

/// One life of the router's process, as an app took note of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterLife {
    /// What the router calls it; 0 before any was seen.
    pub incarnation: u64,
    /// Drawn at the commit that took note.
    pub since: Version,
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
    /// Slots of each of these workloads; while one is resized, those before.
    pub slots: BTreeMap<ServiceName, u16>,
}

/// A workload that an engine holds, and the release it was started from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its name on the engine.
    pub id: WorkloadId,
    /// The release it was started from; its `RELEASE` says so for as long as it lives.
    pub release: ReleaseId,
    /// What an operator wanted of its limits when it was planned; all its processes have them.
    pub limits: Limits,
}

/// What one process may take at most, where an operator says otherwise than the manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Thousandths of a core; 0 when unlimited; the manifest's when none.
    pub cpu_millicores: Option<u32>,
    /// Bytes of memory; 0 when unlimited; the manifest's when none.
    pub memory_bytes: Option<u64>,
}

/// A workload on its way out: warm for a quick rollback, or until its requests ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retiring {
    /// The release it was started from.
    pub release: ReleaseId,
    /// The limits it was started with.
    pub limits: Limits,
    /// How many slots it keeps until it goes.
    pub slots: u16,
    /// Drawn at the commit that took its traffic away.
    pub since: Version,
    /// Until then a rollback may keep it. After that it goes as soon as its requests ended.
    pub warm_until: Timestamp,
    /// When it goes at the latest.
    pub until: Timestamp,
}

/// A change of a service's size while its release stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// The size before; of a growth that fails it comes back.
    pub from: u16,
    /// The size asked for.
    pub to: u16,
    /// Where it stands.
    pub stage: ResizeStage,
    /// Drawn at the commit that entered the stage.
    pub since: Version,
    /// When that was.
    pub entered: Timestamp,
}

/// Where a resize stands. Growth has one stage, shrinking three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeStage {
    /// New slots start and pass the gate; each joins the route when it is ready.
    Growing,
    /// The route is meant to be without the highest slots; the router has not confirmed.
    Unrouting,
    /// The router confirmed; the highest slots finish what they have.
    Draining,
    /// The highest slots are told to stop. From here on it goes to its end, whatever is asked for next.
    Removing,
}

/// One process on its way out and in again: out of the route, drained, stopped, started in the same slot, and back through
/// the gate. Other processes of its service are not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The life that ends; another one in the slot is the new process.
    pub life: Life,
    /// Why.
    pub cause: RenewalCause,
    /// Where it stands.
    pub stage: RenewalStage,
    /// Drawn at the commit that entered the stage.
    pub since: Version,
    /// When that was.
    pub entered: Timestamp,
}

/// Why a process is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalCause {
    /// Somebody asked for it.
    Asked,
    /// Its liveness check failed.
    NotAlive,
}

/// Where a renewal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalStage {
    /// The route is meant to be without the process; the router has not confirmed.
    Unrouting,
    /// The router confirmed; the process finishes what it has.
    Draining,
    /// The process is told to stop and start again.
    Stopping,
    /// Another process runs in the slot and must pass the gate.
    Starting {
        /// Its restarts when it was first seen: exits before do not count against it.
        restarts: u32,
    },
}

/// How often a process was started again because it no longer lived: each time the next one waits longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revived {
    /// How often, since it last lived for long.
    pub times: u32,
    /// When it was last.
    pub at: Timestamp,
}

/// A script that runs once after its promotion succeeded, at most once for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postdeploy {
    /// The release whose script it is.
    pub release: ReleaseId,
    /// Where it stands.
    pub stage: PostdeployStage,
    /// Drawn at the commit that entered the stage, or that made it this one's turn.
    pub since: Version,
    /// When that was.
    pub entered: Timestamp,
}

/// Where a postdeploy script stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostdeployStage {
    /// It was not seen to run yet.
    Due,
    /// It was seen to run: whatever becomes of it, it is not started again.
    Running,
    /// The app was stopped or deleted: it stops, or is forgotten where it never began.
    Stopping,
}
