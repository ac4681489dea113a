//! Processes and their log lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::words::words;

/// One running copy of a service, or a one-off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its id, 12 hex digits; stays over restarts.
    pub id: String,
    /// The app.
    pub app: String,
    /// The service.
    pub name: String,
    /// Its number within the service, from 1; 0 for a one-off.
    pub slot: u16,
    /// Whether it is a one-off.
    #[serde(default)]
    pub one_off: bool,
    /// How it stands.
    pub status: ProcessStatus,
    /// The release it was started from.
    pub release: String,
    /// The promotion that started it.
    #[serde(default)]
    pub promotion: Option<String>,
    /// The part of its CPU limit (or of one core) that it used lately, 0 to 1 and above.
    pub cpu: f64,
    /// The part of its memory limit (or of the machine) that it uses, 0 to 1.
    pub memory: f64,
    /// Thousandths of a core that it used lately.
    pub cpu_millicores: u64,
    /// Bytes of memory that it uses.
    pub memory_bytes: u64,
    /// When its present incarnation started; null before the first.
    pub started: Option<Time>,
    /// Its command.
    pub command: String,
    /// How often its policy started it again.
    pub restarts: u32,
    /// How an earlier incarnation ended.
    pub last_exit: Option<LastExit>,
    /// The machine it runs on.
    pub host: String,
    /// Where it listens.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Why it is not ready, when it is not.
    #[serde(default)]
    pub detail: Option<String>,
    /// The last time that it was stopped to be started again.
    #[serde(default)]
    pub renewal: Option<Renewal>,
}

/// A process was taken out of the route, drained, stopped and started again in its slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewal {
    /// When that began.
    pub began: Time,
    /// When it ended; null while it is under way.
    pub ended: Option<Time>,
    /// Why it was not ready in the end; null when it was.
    pub reason: Option<String>,
}

words! {
    /// How a process stands.
    ProcessStatus {
        /// Not ready yet.
        Starting = "starting",
        /// Takes requests.
        Ready = "ready",
        /// Was ready and is not.
        Unready = "unready",
        /// Finishes what it has.
        Draining = "draining",
        /// Kept for a quick rollback.
        Warm = "warm",
        /// Was told to stop.
        Stopping = "stopping",
        /// Ended, and waits for its next start.
        Crashed = "crashed",
        /// Ended for good.
        Exited = "exited",
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastExit {
    /// Its status; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal.
    pub signal: Option<i32>,
    /// In words: `exit status 1`, `killed: out of memory`.
    pub text: String,
    /// When.
    pub at: Time,
}

/// One line that a process wrote, or that the rack wrote about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When.
    pub at: Time,
    /// Whose: `service/web/0a1b2c3d4e5f`, `system/router`, `build`.
    pub source: String,
    /// The line, without its end.
    pub text: String,
    /// Where it was written.
    #[serde(default = "stdout")]
    pub stream: LogStreamName,
}

fn stdout() -> LogStreamName {
    LogStreamName::Stdout
}

words! {
    /// Where a line was written.
    LogStreamName {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
        /// By the rack.
        System = "system",
    }
}
