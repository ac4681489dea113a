//! What is collected of old releases and builds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// What to collect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneRequest {
    /// Of this app; of all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Remove nothing, only say what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// Whether it would be, and was not.
    pub dry_run: bool,
    /// Bytes on the disk, together.
    pub bytes: u64,
    /// Releases and builds, app by app, oldest first.
    pub items: Vec<PrunedItem>,
    /// Records of old promotions.
    pub promotions: u64,
    /// Old events.
    pub events: u64,
    /// Records of old one-offs.
    pub one_offs: u64,
    /// Releases older than those that are kept anyway, which something needs.
    #[serde(default)]
    pub needed: u64,
    /// Apps of which not everything went that should have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<PruneFailure>,
}

/// An app of which not everything went that should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PruneFailure {
    /// The app.
    pub app: String,
    /// Why not.
    pub reason: String,
}

/// One thing that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrunedItem {
    /// The app.
    pub app: String,
    /// What it is.
    pub kind: PrunedKind,
    /// Its id.
    pub id: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Why nobody needs it.
    pub reason: String,
}

words! {
    /// What is removed.
    PrunedKind {
        /// A release: its record.
        Release = "release",
        /// A build: its record, its slug and its log.
        Build = "build",
        /// Files of a build of which there is no record: a crash left them.
        Stray = "stray",
    }
}
