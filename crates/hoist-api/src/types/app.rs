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
        /// A user stopped it.
        Stopped = "stopped",
        /// Its first promotion failed: nothing serves.
        Failed = "failed",
        /// It is going.
        Deleting = "deleting",
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
    /// The latest change of its size, when there was one.
    #[serde(default)]
    pub resize: Option<Resize>,
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

/// Desired sizes; services that are not named keep theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleRequest {
    /// Service to number of processes.
    pub sizes: BTreeMap<String, u16>,
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
}
