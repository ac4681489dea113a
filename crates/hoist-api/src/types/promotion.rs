//! Promotions: where they stand, how they ended, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IfBusy, LogLine, Release, ReleaseDiff};
use crate::time::Time;
use crate::words::words;

/// One attempt to make a release live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Promotion {
    /// Names it for ever, `1.42`.
    pub number: String,
    /// The app.
    pub app: String,
    /// The release it wants live.
    pub release: String,
    /// What was asked for.
    pub kind: PromotionKind,
    /// Who asked.
    pub actor: String,
    /// Where it stands; null when it ended.
    pub phase: Option<PhaseName>,
    /// What it waits for at the moment.
    #[serde(default)]
    pub waiting: Option<Waiting>,
    /// How it ended; null while it is in flight.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed: one sentence.
    pub reason: Option<String>,
    /// What helps: one command or change.
    pub hint: Option<String>,
    /// When it began.
    pub began: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// When it gives up before the switch.
    #[serde(default)]
    pub deadline: Option<Time>,
    /// The release that serves now; none when nothing does.
    pub serving: Option<String>,
    /// The last log lines of the process at fault.
    #[serde(default)]
    pub last_log: Vec<LogLine>,
    /// The phases it went through, in order.
    #[serde(default)]
    pub phases: Vec<PhaseTime>,
    /// What it does with each service.
    #[serde(default)]
    pub services: Vec<PlannedService>,
}

words! {
    /// What a promotion was asked for.
    PromotionKind {
        /// Make a release live.
        Promote = "promote",
        /// Go back to a release.
        Rollback = "rollback",
        /// The same release again.
        Restart = "restart",
        /// Bring a stopped app back.
        Start = "start",
    }
}

words! {
    /// Where a promotion stands.
    PhaseName {
        /// The release command runs.
        Preparing = "preparing",
        /// New processes start beside the old.
        Starting = "starting",
        /// Services that must not run twice stop, start and pass.
        Replacing = "replacing",
        /// Traffic moves.
        Shifting = "shifting",
        /// Old processes finish what they have.
        Draining = "draining",
        /// It failed and goes back.
        RollingBack = "rolling-back",
    }
}

words! {
    /// How a promotion ended.
    Outcome {
        /// The release serves.
        Succeeded = "succeeded",
        /// What served before serves again.
        RolledBack = "rolled-back",
        /// There was nothing to go back to, or going back failed.
        Failed = "failed",
        /// A newer promotion took its place.
        Superseded = "superseded",
        /// A user ended it.
        Cancelled = "cancelled",
    }
}

words! {
    /// What a promotion does with a service.
    Plan {
        /// New processes.
        Replace = "replace",
        /// Running or warm processes stay.
        Keep = "keep",
    }
}

words! {
    /// How new processes take the place of old ones.
    Strategy {
        /// The new beside the old, then the switch.
        Surge = "surge",
        /// Stop the old, then start the new.
        Replace = "replace",
    }
}

/// What a promotion does with a service, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedService {
    /// The service.
    pub name: String,
    /// New processes, or those that are there.
    pub plan: Plan,
    /// In which order.
    pub strategy: Strategy,
    /// Processes asked for.
    pub desired: u16,
    /// Processes of the target that are ready.
    #[serde(default)]
    pub ready: u16,
    /// What is wrong with one of them, as `web.1 exited 2 times (exit 1)`; null while nothing is.
    #[serde(default)]
    pub problem: Option<String>,
}

/// What something waits for: every wait has a name and a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// What for, as `web.1 to be ready`.
    pub on: String,
    /// Since when.
    pub since: Time,
    /// Until when at the latest.
    pub until: Option<Time>,
}

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTime {
    /// The phase.
    pub name: PhaseName,
    /// How long, so far when it is the present one.
    pub milliseconds: u64,
}

/// A line of what happens in a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromotionLine {
    /// When.
    pub at: Time,
    /// Who says it: `system/local/web.1`, `system/router`, `service/web/<process>`.
    pub source: String,
    /// What.
    pub text: String,
    /// Of what kind.
    pub kind: LineKind,
}

words! {
    /// Of what kind a line of a promotion is.
    LineKind {
        /// A phase began.
        Phase = "phase",
        /// Something about one process.
        Process = "process",
        /// Traffic moved.
        Route = "route",
        /// Output of the release command.
        Log = "log",
        /// Something that a user should mend.
        Warning = "warning",
    }
}

/// How to promote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromotionCreateRequest {
    /// What to do when a promotion is in flight.
    #[serde(default)]
    pub if_busy: IfBusy,
    /// The limit from its begin to the switch; the app's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

/// Where a rollback would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackTarget {
    /// The release whose copy would be promoted.
    pub release: String,
}

/// Where to go back to, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackRequest {
    /// The release whose copy is promoted; the last one that served before, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What to do when a promotion is in flight.
    #[serde(default)]
    pub if_busy: IfBusy,
    /// The limit from its begin to the switch; the app's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

/// A rollback that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollback {
    /// The release that it promotes.
    pub release: Release,
    /// The promotion.
    pub promotion: Promotion,
    /// How the release differed from what was active; null when nothing was.
    #[serde(default)]
    pub changes: Option<ReleaseDiff>,
}
