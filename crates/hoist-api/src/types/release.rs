//! Releases and environments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Promotion;
use super::params::is_false;
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
    /// Those of its variables whose values are not to be shown to who looks over a shoulder. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// The manifest's text. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Releases that were made and not promoted and that are in this one, oldest first. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<IncludedRelease>,
    /// Releases before this one that it is not built on, newest first. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOverRelease>,
    /// Its promotions, newest first. Absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<Promotion>,
}

/// A release composed of two others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseCreateRequest {
    /// Whose build it takes: `active`, `newest` or a release.
    pub build_from: String,
    /// Whose environment it takes: `active`, `newest` or a release.
    pub env_from: String,
}

/// With what a release is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseDiffQuery {
    /// `active`, `newest` or a release; the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// How a release differs from another one. Of variables only names are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseDiff {
    /// The release.
    pub release: String,
    /// What it is compared with.
    pub against: String,
    /// Null when both have the same build.
    pub build: Option<BuildChange>,
    /// Lines of the manifest that are only in the other (`-`) or only in this release (`+`).
    pub manifest: Vec<String>,
    /// Variables.
    pub env: EnvChange,
}

/// One build instead of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildChange {
    /// That of the release that is compared with; null when it has none.
    pub before: Option<String>,
    /// That of the release itself.
    pub after: Option<String>,
}

/// Names of variables that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvChange {
    /// Only the release itself has them.
    pub added: Vec<String>,
    /// Both have them, with different values.
    pub changed: Vec<String>,
    /// Only the release that is compared with has them.
    pub removed: Vec<String>,
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

/// The environment of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Env {
    /// The release; none before the first.
    pub release: Option<String>,
    /// Variables; values are null unless revealed.
    pub env: BTreeMap<String, Option<String>>,
    /// Those of them whose values are not to be shown to who looks over a shoulder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
}

/// Names of variables whose values are not to be shown to who looks over a shoulder. They need not be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvMask {
    /// The names, sorted.
    pub names: Vec<String>,
}

/// A change of the names that are masked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvMaskRequest {
    /// Names to mask; masked ones are no error.
    #[serde(default)]
    pub set: Vec<String>,
    /// Names not to mask any more; they must be masked.
    #[serde(default)]
    pub unset: Vec<String>,
}

/// A change of the environment: one new release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvUpdateRequest {
    /// Variables to set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Variables to remove; they must be there.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Remove every variable that is not in `set`, which must not be empty.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    /// Refuse when variables differ by now from those of this release; empty for those of an app without a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the new release is made from: `active`, `newest` or a release; absent, the newest that descends from the
    /// active one and of which no promotion went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}
