//! A source by the contents of its files, so that what the rack has is not sent again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, params::is_false};

/// All that belongs to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceCreateRequest {
    /// Files, links and directories; directories above them need not be named.
    pub entries: Vec<SourceEntry>,
}

/// One path of a source, relative to its top, with `/` between its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceEntry {
    /// A directory.
    Directory {
        /// Its path.
        path: String,
    },
    /// A regular file.
    File {
        /// Its path.
        path: String,
        /// Its length in bytes.
        size: u64,
        /// SHA-256 of its content, in lower-case hexadecimal.
        sha256: String,
        /// Whether it can be executed.
        #[serde(default, skip_serializing_if = "is_false")]
        executable: bool,
    },
    /// A symbolic link, which must stay inside.
    Link {
        /// Its path.
        path: String,
        /// What it says, from the directory that it is in.
        target: String,
    },
}

/// A source that the rack knows by its list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Names the list: the same list has the same id.
    pub id: String,
    /// Contents that the rack lacks, by their SHA-256.
    pub missing: Vec<String>,
}

/// Names a source of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourcePath {
    /// The app.
    pub app: String,
    /// The source's id.
    pub source: String,
}

/// What is known of a source that is to be built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceBuildRequest {
    /// What users see in lists. With it there is a new release even when nothing has to be built.
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
    /// Build even when nothing changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rebuild: bool,
    /// Build with an empty cache, even when nothing changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_cache: bool,
    /// What the new release is made from: `active`, `newest` or a release; absent, the newest that descends from the
    /// active one and of which no promotion went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The build of a source: one that began, or the one that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceBuilt {
    /// The build.
    pub build: Build,
    /// Present when nothing changed since that build, so that nothing is built.
    #[serde(default)]
    pub unchanged: Option<Unchanged>,
}

/// A source of which there is a build already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unchanged {
    /// The release of that build to promote, with the present environment.
    pub release: String,
    /// It is active and runs in full: nothing is left to do.
    pub active: bool,
    /// The promotion in flight that makes it active.
    #[serde(default)]
    pub promotion: Option<String>,
}
