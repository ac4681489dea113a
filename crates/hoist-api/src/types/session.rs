//! One-offs, commands beside a process, and the sessions that carry their streams.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Process;
use super::params::is_false;

/// Names a process of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BesidePath {
    /// The app.
    pub app: String,
    /// The process: its id, the beginning of it that no other has, or a service of which one that runs is taken.
    pub process: String,
}

/// Names a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionPath {
    /// The session, as the answer that made it says.
    pub session: String,
}

/// What to run as a one-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunRequest {
    /// The service whose environment, user, limits and volumes it gets.
    pub service: String,
    /// The command.
    pub command: Vec<String>,
    /// Run the command, which is then one string, by `sh -c`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shell: bool,
    /// The release to run; the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Give it a session; otherwise its output goes to the app's log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub attach: bool,
    /// Give it a terminal, which needs a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// A command to run beside a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecRequest {
    /// The command.
    pub command: Vec<String>,
    /// Run the command, which is then one string, by `sh -c`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shell: bool,
    /// Give it a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// A terminal as its user has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terminal {
    /// Its size.
    #[serde(flatten)]
    pub size: TerminalSize,
    /// Its kind, for `TERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
}

/// A size in cells; 0 where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// Characters per line.
    #[serde(default)]
    pub columns: u16,
    /// Lines.
    #[serde(default)]
    pub rows: u16,
}

/// A one-off that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// It.
    pub process: Process,
    /// What to attach to, within 10 s; null when it was not asked for.
    pub session: Option<String>,
}

/// A command that runs beside a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// The id of the process that it runs beside.
    pub process: String,
    /// What to attach to, within 10 s.
    pub session: String,
}

/// How an attached process ended: the last message of its session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionExit {
    /// Its status; 128 + signal when a signal ended it; null when it is not known.
    pub code: Option<i32>,
    /// The signal.
    #[serde(default)]
    pub signal: Option<i32>,
    /// What the status does not say: `was killed: out of memory`, `the rack is stopping`.
    #[serde(default)]
    pub reason: Option<String>,
}
