//! Parameters of paths and queries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// Names an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppPath {
    /// The app.
    pub app: String,
}

/// Names a build of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildPath {
    /// The app.
    pub app: String,
    /// The build, `B…`.
    pub build: String,
}

/// Names a release of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasePath {
    /// The app.
    pub app: String,
    /// The release, `R…`.
    pub release: String,
}

/// Names a process of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessPath {
    /// The app.
    pub app: String,
    /// The process's id, or as much of its beginning as names no other.
    pub process: String,
}

/// Names a promotion of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromotionPath {
    /// The app.
    pub app: String,
    /// The promotion's number, `1.42`.
    pub number: String,
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageQuery {
    /// At most this many; 20 when absent, 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// Which promotion is cancelled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelQuery {
    /// Only this one, by its number; otherwise the one in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<String>,
}

/// Whether values of variables are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevealQuery {
    /// Show values; needs the scope `deploy`. Otherwise they are null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
}

/// Which environment, and whether its values are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvQuery {
    /// Show values; needs the scope `deploy`. Otherwise they are null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
    /// Of which release: `active`, `newest` or a release; absent, the one that the next release is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What deleting an app must repeat and may add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteQuery {
    /// The app's name again.
    #[serde(default)]
    pub confirm: String,
    /// Delete its volumes as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub volumes: bool,
}

/// What is known of the source that is uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildQuery {
    /// What users see in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The commit it was taken from, when the working tree was clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// That commit's subject line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_message: Option<String>,
    /// The manifest's path within the source, when it is not one of the known names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Build with an empty cache.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_cache: bool,
    /// What the new release is made from: `active`, `newest` or a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Which lines of an app's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogQuery {
    /// Keep streaming what comes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Only lines of the last so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
    /// Of what is kept, only this many last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Only this service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only this process's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

words! {
    /// What a promotion does when another one of the app is in flight.
    IfBusy {
        /// Begin after it ended; the answer comes then.
        Wait = "wait",
        /// End it and begin.
        Supersede = "supersede",
        /// Refuse.
        Refuse = "refuse",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro that declares words knows no default"
)]
impl Default for IfBusy {
    fn default() -> Self {
        Self::Wait
    }
}

/// For `skip_serializing_if`.
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
