//! Releases and environments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::words::words;

/// Immutable: build, manifest and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Its id, `R…`.
    pub id: String,
    /// The app.
    pub app: String,
    /// Null when nothing special is to be said of it.
    pub status: Option<ReleaseStatus>,
    /// The build it runs; none for an environment set before the first build.
    pub build: Option<String>,
    /// When it was made.
    pub created: Time,
    /// What users see in lists.
    pub description: String,
    /// The release it was made from.
    pub parent: Option<String>,
    /// Who made it.
    pub actor: String,
    /// Variables; values are null unless revealed. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, Option<String>>>,
    /// The manifest's text. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Releases that were made and not promoted and that are in this one, oldest first. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<IncludedRelease>,
    /// Releases before this one that it is not built on, newest first. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOverRelease>,
}

/// A staged release that goes out with a newer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncludedRelease {
    /// The release.
    pub release: String,
    /// What it changed.
    pub description: String,
}

/// A release that a newer one is not built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PassedOverRelease {
    /// The release.
    pub release: String,
    /// What it changed.
    pub description: String,
    /// Why: `its promotion was rolled back`.
    pub reason: String,
}

words! {
    /// What is to be said of a release in a list.
    ReleaseStatus {
        /// It serves.
        Active = "active",
        /// A promotion to it is in flight.
        Promoting = "promoting",
        /// Its last promotion failed and went back.
        RolledBack = "rolled-back",
        /// Its last promotion failed and there was nothing to go back to.
        Failed = "failed",
        /// Another promotion took the place of its last one.
        Superseded = "superseded",
        /// A user ended its last promotion.
        Cancelled = "cancelled",
    }
}

/// The environment of an app's newest release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Env {
    /// The release; none before the first.
    pub release: Option<String>,
    /// Variables; values are null unless revealed.
    pub env: BTreeMap<String, Option<String>>,
}

/// A change of the environment: one new release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvUpdateRequest {
    /// Variables to set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Variables to remove; absent ones are no error.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Refuse when this is not the newest release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the new release is made from: `active`, `newest` or a release; absent, the newest that descends from the
    /// active one and of which no promotion went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}
