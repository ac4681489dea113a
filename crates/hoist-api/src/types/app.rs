//! Apps, their services and sizes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::IfBusy;
use crate::time::Time;
use crate::words::words;

/// What a user deploys and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct App {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: AppStatus,
    /// The active release; none before the first success.
    pub release: Option<String>,
    /// The promotion in flight.
    pub promotion: Option<String>,
    /// Where its `web` service is reached; none without one.
    pub url: Option<String>,
    /// Where each of its routed services is reached.
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
    /// When it was created.
    pub created: Time,
    /// Whether deleting is refused.
    #[serde(default)]
    pub locked: bool,
}

words! {
    /// How an app stands.
    AppStatus {
        /// Nothing was deployed yet.
        Created = "created",
        /// The active release serves in full.
        Running = "running",
        /// A promotion is in flight.
        Updating = "updating",
        /// A promotion failed and goes back.
        RollingBack = "rolling-back",
        /// The active release serves, but not in full.
        Degraded = "degraded",
        /// A user stops it: its processes finish what they have.
        Stopping = "stopping",
        /// A user stopped it.
        Stopped = "stopped",
        /// Its first promotion failed: nothing serves.
        Failed = "failed",
        /// It is going.
        Deleting = "deleting",
    }
}

/// What is set for an app as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppParams {
    /// Seconds from a promotion's begin to its switch, after which it goes back.
    pub timeout_seconds: u64,
    /// What it is when nobody sets it.
    pub timeout_seconds_default: u64,
    /// Newest releases that are kept, beside those that are needed; 0 for all of them.
    pub keep_releases: u32,
    /// What it is when nobody sets it.
    pub keep_releases_default: u32,
}

/// Parameters to set; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppParamsUpdateRequest {
    /// Seconds, 1 to 86400. A promotion in flight keeps the limit that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Releases, 1 to 1000000, or 0 for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_releases: Option<u32>,
    /// Parameters that are what they are when nobody sets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reset: Vec<AppParam>,
}

words! {
    /// A parameter of an app.
    AppParam {
        /// How long a promotion may take.
        Timeout = "timeout",
        /// How many releases are kept.
        Keep = "keep",
    }
}

/// Names a new app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppCreateRequest {
    /// The name: a-z, 0-9, `.` and `-`, at most 63 characters.
    pub name: String,
}

/// A deletion that has begun; the app answers 404 when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppDeleted {
    /// The app.
    pub name: String,
    /// Directories of volumes that stay.
    #[serde(default)]
    pub volumes_kept: Vec<String>,
}

/// A service of the active release (or of the newest one before the first success).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Processes asked for.
    pub desired: u16,
    /// Processes that run.
    pub running: u16,
    /// Processes that are ready.
    pub ready: u16,
    /// Where it is reached.
    pub url: Option<String>,
    /// Who says how many.
    #[serde(default = "manifest")]
    pub owner: Owner,
    /// How many the active release's manifest says; null before the first deploy.
    #[serde(default)]
    pub manifest_count: Option<u16>,
    /// The CPU limit of each process in thousandths of a core; 0 when unlimited.
    #[serde(default)]
    pub cpu_millicores: u32,
    /// Who says so.
    #[serde(default = "manifest")]
    pub cpu_owner: Owner,
    /// The memory limit of each process in bytes; 0 when unlimited.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Who says so.
    #[serde(default = "manifest")]
    pub memory_owner: Owner,
    /// The latest change of its size, when there was one.
    #[serde(default)]
    pub resize: Option<Resize>,
}

words! {
    /// Who says what a service's number is.
    Owner {
        /// The manifest of the release.
        Manifest = "manifest",
        /// An operator, by `hoist scale`.
        Operator = "operator",
    }
}

fn manifest() -> Owner {
    Owner::Manifest
}

/// A change of a service's size while its release stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resize {
    /// The size before.
    pub from: u16,
    /// The size asked for.
    pub to: u16,
    /// When it began.
    pub began: Time,
    /// When it ended; null while it is under way.
    pub ended: Option<Time>,
    /// Why the old size came back; null when it did not.
    pub reason: Option<String>,
}

/// Desired sizes and limits; services that are not named keep theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleRequest {
    /// Service to number of processes.
    #[serde(default)]
    pub sizes: BTreeMap<String, u16>,
    /// Service to limits of each process. What serves is restarted with them, through the gate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, ScaleLimits>,
    /// Services whose size and limits the manifest gives again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_manifest: Vec<String>,
    /// The same for all services.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_from_manifest: bool,
}

/// Limits of one process; what is null stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleLimits {
    /// Thousandths of a core; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millicores: Option<u32>,
    /// Bytes of memory; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// The services after a change of sizes or limits was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scaled {
    /// All services.
    pub items: Vec<Service>,
    /// Always null: all services fit on one page.
    pub next: Option<String>,
    /// When it takes effect.
    #[serde(default = "now")]
    pub effect: ScaleEffect,
    /// The promotion that restarts what serves with other limits or starts a stopped app, where that is due.
    #[serde(default)]
    pub promotion: Option<super::Promotion>,
}

words! {
    /// When a change of sizes or limits takes effect.
    ScaleEffect {
        /// Now.
        Now = "now",
        /// With the first deploy that succeeds: nothing serves yet.
        FirstDeploy = "first-deploy",
        /// Not before the app is started: it is stopped, and nothing changed that would start it.
        Start = "start",
    }
}

fn now() -> ScaleEffect {
    ScaleEffect::Now
}

/// What to restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestartRequest {
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What to do when a promotion is in flight.
    #[serde(default)]
    pub if_busy: IfBusy,
    /// The limit from its begin to the switch; the app's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}
