//! History as the store keeps it: builds, releases, promotions and events.

use hoist_core::detect::Runtime;
use hoist_core::id::{AppName, BuildId, ProcessId, ReleaseId, ServiceName, Version};
use hoist_core::model::Timestamp;

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStatus {
    /// It runs.
    Running,
    /// It made a slug.
    Complete,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl BuildStatus {
    /// The word in rows and replies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Complete, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.word() == word)
    }
}

/// Source turned into a slug, with what it said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecord {
    /// Its id.
    pub id: BuildId,
    /// Its app.
    pub app: AppName,
    /// How it stands.
    pub status: BuildStatus,
    /// When it began, on the wall clock.
    pub created: Timestamp,
    /// When it ended, on the wall clock.
    pub ended: Option<Timestamp>,
    /// What its user or its commit says.
    pub description: String,
    /// The commit it was made from, when the tree was clean.
    pub git_sha: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// Why it failed, or who cancelled it.
    pub reason: Option<String>,
    /// The manifest's file name and text, once read.
    pub manifest: Option<(String, String)>,
    /// The release it made.
    pub release: Option<ReleaseId>,
    /// What the manifest says that is not acted on, a line each.
    pub warnings: Vec<String>,
    /// A digest of all that it was made from; none when that is not known.
    pub inputs: Option<String>,
    /// The text of the `app.json` beside the manifest.
    pub app_json: Option<String>,
    /// What its language brings to processes.
    pub runtime: Runtime,
}

/// Build and environment, immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// Its id.
    pub id: ReleaseId,
    /// Its app.
    pub app: AppName,
    /// Its build; none while only variables were set.
    pub build: Option<BuildId>,
    /// The release it was made from.
    pub parent: Option<ReleaseId>,
    /// When, on the wall clock.
    pub created: Timestamp,
    /// What changed: names only, never values.
    pub description: String,
    /// Who made it.
    pub actor: String,
    /// The environment, sealed.
    pub env: Vec<u8>,
    /// The release that this one is a copy of, when it was made to go back.
    pub rollback_of: Option<ReleaseId>,
}

impl ReleaseRecord {
    /// The release as lists show it, with how its last promotion ended.
    pub fn listed(&self, outcome: Option<String>) -> ListedRelease {
        ListedRelease {
            id: self.id.clone(),
            app: self.app.clone(),
            build: self.build.clone(),
            parent: self.parent.clone(),
            created: self.created,
            description: self.description.clone(),
            actor: self.actor.clone(),
            outcome,
        }
    }
}

/// A release as lists show it: without its environment, with what became of it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRelease {
    /// Its id.
    pub id: ReleaseId,
    /// Its app.
    pub app: AppName,
    /// Its build; none while only variables were set.
    pub build: Option<BuildId>,
    /// The release it was made from.
    pub parent: Option<ReleaseId>,
    /// When, on the wall clock.
    pub created: Timestamp,
    /// What changed: names only, never values.
    pub description: String,
    /// Who made it.
    pub actor: String,
    /// How its last promotion ended; none when there was none, or that has not ended.
    pub outcome: Option<String>,
}

/// One attempt to make a release live. Kept for good of what is kept; of the rest, the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionRecord {
    /// Its app.
    pub app: AppName,
    /// Its number.
    pub number: Version,
    /// The release it wanted live.
    pub release: ReleaseId,
    /// What was asked for: `promote`, `rollback`, `restart`, `start`.
    pub kind: String,
    /// Who asked.
    pub actor: String,
    /// When it began, on the wall clock.
    pub began: Timestamp,
    /// When it ended, on the wall clock.
    pub ended: Option<Timestamp>,
    /// How, as a word of the glossary.
    pub outcome: Option<String>,
    /// Why not, in a sentence.
    pub reason: Option<String>,
    /// What people want to know afterwards.
    pub report: PromotionReport,
}

/// Phases with their times, and the last words of a process at fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PromotionReport {
    /// Phases in the order they were entered, with when (rack clock, milliseconds).
    pub phases: Vec<(String, u64)>,
    /// When the last phase ended (rack clock, milliseconds).
    pub ended: Option<u64>,
    /// The last log lines of the process at fault: wall milliseconds, source, text.
    pub last_lines: Vec<(u64, String, String)>,
    /// What serves now.
    pub serving: Option<String>,
    /// One command to mend it.
    pub hint: Option<String>,
}

/// A process that was started to run one command. The newest are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOffRecord {
    /// Its id.
    pub id: ProcessId,
    /// Its app.
    pub app: AppName,
    /// The service whose environment it has.
    pub service: ServiceName,
    /// The release it runs.
    pub release: ReleaseId,
    /// Its command, as a person would type it.
    pub command: String,
    /// Who asked for it.
    pub actor: String,
    /// Whether it lives only as long as its session.
    pub attached: bool,
    /// When, on the wall clock.
    pub created: Timestamp,
    /// How it ended, once it has.
    pub ended: Option<OneOffEnd>,
}

/// How a one-off ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOffEnd {
    /// When, on the wall clock.
    pub at: Timestamp,
    /// Its exit status; none when that is not known.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What the status does not say.
    pub reason: Option<String>,
}

/// Something that happened, for users, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order of all events; 0 until it is stored.
    pub id: i64,
    /// The app it happened to.
    pub app: AppName,
    /// The promotion it belongs to.
    pub promotion: Option<Version>,
    /// When, on the wall clock.
    pub at: Timestamp,
    /// `release:promote`, `process:started`, …
    pub kind: String,
    /// `system/local/web.1`
    pub source: String,
    /// One line.
    pub text: String,
    /// Who caused it, when a person did.
    pub actor: Option<String>,
}
