//! Moving an app to another rack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::is_false;

/// What goes into an export. Has no `Debug`: it may hold a passphrase.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppExportRequest {
    /// Seals the env of every release; without one the env is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Only the active release.
    #[serde(default, skip_serializing_if = "is_false")]
    pub active_only: bool,
    /// Take volumes along, as they are found.
    #[serde(default, skip_serializing_if = "is_false")]
    pub with_volumes: bool,
}

/// What is made of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppImportQuery {
    /// Another name than the one in the export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Leave the env behind: no passphrase is needed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_env: bool,
}

/// An app that was made of an export. Nothing of it runs yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppImported {
    /// Its name.
    pub app: String,
    /// Its builds, oldest first.
    pub builds: Vec<ImportedId>,
    /// Its releases, oldest first.
    pub releases: Vec<ImportedId>,
    /// The release that was active where it came from, by its id here.
    pub release: Option<String>,
    /// Whether the env came along.
    pub env: bool,
    /// Volumes that came along.
    #[serde(default)]
    pub volumes: Vec<String>,
}

/// A record and what it was called where it came from: the same, unless that was taken here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedId {
    /// Its id.
    pub id: String,
    /// Its id in the export.
    pub was: String,
}
