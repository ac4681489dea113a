//! What the loops of a rack last did and when they pass again, so that `doctor` can say it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pause between looks at one-offs.
pub(crate) const ONE_OFFS_PAUSE: Duration = Duration::from_millis(500);

/// One loop beside the control loop, which keeps its own account.
pub(crate) struct Pulse {
    pause: Duration,
    beat: Mutex<Beat>,
}

/// What a loop has done so far.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    /// Passes that ended.
    pub(crate) passes: u64,
    /// When the last one ended.
    pub(crate) last: Option<Instant>,
    /// When the next one begins, at the latest. One that is under way moves it when it ends.
    pub(crate) next: Instant,
    /// Passes in a row that failed.
    pub(crate) failures: u32,
    /// Why the last pass failed; none when it did not.
    pub(crate) error: Option<String>,
}

impl Pulse {
    /// Of a loop that rests this long before each pass.
    pub(crate) fn new(pause: Duration) -> Self {
        let beat = Beat {
            passes: 0,
            last: None,
            next: Instant::now() + pause,
            failures: 0,
            error: None,
        };
        Self {
            pause,
            beat: Mutex::new(beat),
        }
    }

    /// A pass has ended, and the loop rests.
    pub(crate) fn passed(&self, result: Result<(), String>) {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        beat.passes += 1;
        beat.last = Some(now);
        beat.next = now + self.pause;
        beat.error = result.err();
        beat.failures = match beat.error {
            Some(_) => beat.failures.saturating_add(1),
            None => 0,
        };
    }

    /// What it has done so far.
    pub(crate) fn beat(&self) -> Beat {
        let beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        beat.clone()
    }
}

/// The loops beside the control loop, by what they are for.
pub(crate) struct Pulses {
    /// Whether the router lives.
    pub(crate) router: Pulse,
    /// Whether one-offs do, and how they ended.
    pub(crate) one_offs: Pulse,
    /// What processes use.
    pub(crate) usage: Pulse,
    /// Logs within their limits.
    pub(crate) janitor: Pulse,
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            router: Pulse::new(crate::router_process::LOOK_PAUSE),
            one_offs: Pulse::new(ONE_OFFS_PAUSE),
            usage: Pulse::new(crate::usage::PAUSE),
            janitor: Pulse::new(crate::janitor::PAUSE),
        }
    }
}

impl Pulses {
    /// All of them by name.
    pub(crate) fn all(&self) -> [(&'static str, &Pulse); 4] {
        [
            ("router watch", &self.router),
            ("one-offs", &self.one_offs),
            ("usage", &self.usage),
            ("janitor", &self.janitor),
        ]
    }
}
