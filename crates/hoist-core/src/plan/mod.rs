//! `step` decides, `converge` acts, `route` points traffic; `apply` and the commands are all that changes an app.
//!
//! All of it is pure. The control loop looks, commits at most one transition, and otherwise carries out what is due:
//!
//! ```text
//! look -> step -> apply, commit -> (again)
//!             \-> nothing to decide -> converge -> engine; route -> router
//! ```
//!
//! Actions follow from state and looks, never from a transition, so a crash between commit and action loses nothing.
//! What callers owe:
//!
//! - Versions come from one sequence, drawn *before* a look begins and *together with* reading the state that a route
//!   table is computed from.
//! - Looks of one part never go backwards, and a probe's verdict is dropped when the engine part names another life of
//!   the process.
//! - Commands about one workload reach its engine in the order they were given, or not at all.
//! - No table is published before a look at the engine. After that one is due when it differs from the last, and when
//!   an app's `routes_since` is newer than the running table.
//! - What is under way shows: a release command, a postdeploy script or a workload whose start has been asked for and not answered is in the
//!   engine's part (running; without slots), so that nothing ends beside it. A process whose restart has been asked for
//!   and not answered shows as stopping.

mod apply;
mod commands;
mod converge;
pub mod explain;
mod gate;
mod postdeploy;
mod renewal;
mod resize;
mod retire;
mod route;
mod scale;
mod shape;
mod status;
mod step;
mod waiting;

use crate::id::{ReleaseId, ServiceName, SlotId, Version, WorkloadId};
use crate::model::{
    Exit, Life, Outcome, Phase, Reason, RenewalStage, ResizeStage, Unready, Workload,
};

pub use apply::apply;
pub use commands::{CommandError, PromoteOptions, cancel, create, delete, promote, renew, stop};
pub use converge::{converge, strays};
pub use renewal::may_revive;
pub use route::route;
pub use scale::{Overruled, Scaling, overruled, resize, scale, scaled};
pub use status::{AppStatus, status};
pub use step::{due, promotion_due, runs_release_command, step};
pub use waiting::{Part, Waiting};

/// What `step` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is in flight.
    Rest,
    /// Something is in flight and waits for these.
    Wait(Vec<Waiting>),
    /// Commit this, then ask again.
    Go(Transition),
}

/// One change of an app's state, decided by [`step`] and made by [`apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The promotion enters a phase.
    Enter {
        /// Which.
        phase: Phase,
    },
    /// The promotion ends.
    End {
        /// How.
        outcome: Outcome,
    },
    /// A workload on its way out has nothing more to do.
    Retire {
        /// Which.
        workload: WorkloadId,
    },
    /// A size that could not be acted on before is acted on now.
    ResizeBegun {
        /// The service.
        service: ServiceName,
        /// Its size before.
        from: u16,
        /// The size asked for.
        to: u16,
    },
    /// A resize enters its next stage.
    ResizeAdvanced {
        /// The service.
        service: ServiceName,
        /// The stage.
        stage: ResizeStage,
    },
    /// A resize ended: the service has its new size.
    Resized {
        /// The service.
        service: ServiceName,
        /// Its size before.
        from: u16,
        /// Its size now.
        to: u16,
    },
    /// A growth failed: the size before comes back.
    ResizeFailed {
        /// The service.
        service: ServiceName,
        /// The size that comes back.
        from: u16,
        /// The size asked for.
        to: u16,
        /// Why.
        reason: Reason,
    },
    /// A process no longer lives: it leaves the route, to be started again.
    RenewalBegun {
        /// Which.
        slot: SlotId,
        /// Its life that ends.
        life: Life,
        /// What its liveness check found.
        found: Unready,
    },
    /// A renewal enters its next stage.
    RenewalAdvanced {
        /// The process.
        slot: SlotId,
        /// The stage.
        stage: RenewalStage,
    },
    /// A process was started again and is ready.
    Renewed {
        /// Which.
        slot: SlotId,
    },
    /// A process was started again and is not ready: its restart policy goes on with it.
    RenewalFailed {
        /// Which.
        slot: SlotId,
        /// Why it is not.
        reason: Reason,
    },
    /// The router began a new life: counts of requests from before are void.
    RouterChanged {
        /// What it calls itself.
        incarnation: u64,
    },
    /// A postdeploy script was seen to have begun.
    PostdeployBegan {
        /// The promotion it belongs to.
        promotion: Version,
    },
    /// A postdeploy script is over: what the engine holds of it may be forgotten.
    PostdeployEnded {
        /// The promotion it belongs to.
        promotion: Version,
        /// How it ended; none when the engine holds nothing of it, and it does not begin any more.
        exit: Option<Exit>,
    },
    /// A stopping app has stopped.
    Stopped,
    /// Nothing of a deleted app is left: its record may go.
    Deleted,
}

/// One thing to do about reality. Every action is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hold slots 1..=`slots` of a workload.
    Apply {
        /// Which.
        workload: Workload,
        /// How many.
        slots: u16,
    },
    /// Stop and forget a workload.
    Remove {
        /// Which.
        id: WorkloadId,
    },
    /// Stop a process and start it again in its slot.
    Restart {
        /// Which.
        slot: SlotId,
        /// The life that ends. The engine is told once, for as long as it is on its way to do it.
        life: Life,
    },
    /// Start a promotion's release command, at most once for ever.
    RunReleaseCommand {
        /// The promotion.
        promotion: Version,
        /// The release it comes from.
        release: ReleaseId,
    },
    /// Stop a promotion's release command.
    StopReleaseCommand {
        /// The promotion.
        promotion: Version,
    },
    /// Start a promotion's postdeploy script, at most once for ever.
    RunPostdeploy {
        /// The promotion.
        promotion: Version,
        /// The release it comes from.
        release: ReleaseId,
    },
    /// Stop a promotion's postdeploy script.
    StopPostdeploy {
        /// The promotion.
        promotion: Version,
    },
}
