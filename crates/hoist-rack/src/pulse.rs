//! What the loops of a rack last did and when they pass again, so that `doctor` can say it.

use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// What it did last, where that is worth telling.
    pub(crate) did: Option<String>,
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
            did: None,
        };
        Self {
            pause,
            beat: Mutex::new(beat),
        }
    }

    /// Of a loop that rests longer or shorter before its first pass.
    pub(crate) fn after(first: Duration, pause: Duration) -> Self {
        let pulse = Self::new(first);
        Self { pause, ..pulse }
    }

    /// A pass begins that may take so long.
    pub(crate) fn begins(&self, limit: Duration) {
        self.lock().next = Instant::now() + limit;
    }

    /// What was done last, by a pass or because somebody asked for it.
    pub(crate) fn did(&self, words: String) {
        self.lock().did = Some(words);
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass has ended, and the loop rests.
    pub(crate) fn passed(&self, result: Result<(), String>) {
        let mut beat = self.lock();
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
        self.lock().clone()
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
    /// Old releases and builds.
    pub(crate) retention: Pulse,
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            router: Pulse::new(crate::router_process::LOOK_PAUSE),
            one_offs: Pulse::new(ONE_OFFS_PAUSE),
            usage: Pulse::new(crate::usage::PAUSE),
            janitor: Pulse::new(crate::janitor::PAUSE),
            retention: Pulse::after(crate::retention::FIRST_PAUSE, crate::retention::PAUSE),
        }
    }
}

impl Pulses {
    /// All of them by name.
    pub(crate) fn all(&self) -> [(&'static str, &Pulse); 5] {
        [
            ("router watch", &self.router),
            ("one-offs", &self.one_offs),
            ("usage", &self.usage),
            ("janitor", &self.janitor),
            ("retention", &self.retention),
        ]
    }
}
