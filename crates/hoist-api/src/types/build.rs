//! Builds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::words::words;

/// Source turned into something that runs, with its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    /// Its id, `B…`.
    pub id: String,
    /// The app.
    pub app: String,
    /// How it stands.
    pub status: BuildStatus,
    /// When it began.
    pub created: Time,
    /// When it ended; null while it runs.
    pub ended: Option<Time>,
    /// What users see in lists.
    pub description: String,
    /// The commit it was taken from.
    pub git_sha: Option<String>,
    /// The release that it made; null unless complete.
    pub release: Option<String>,
    /// Why it failed, or who cancelled it.
    pub reason: Option<String>,
    /// Warnings about the manifest: what was accepted but is not acted on, with file and line.
    #[serde(default)]
    pub warnings: Vec<String>,
}

words! {
    /// How a build stands.
    BuildStatus {
        /// Under way.
        Running = "running",
        /// It made a release.
        Complete = "complete",
        /// It made nothing.
        Failed = "failed",
        /// Somebody ended it; it made nothing.
        Cancelled = "cancelled",
    }
}
