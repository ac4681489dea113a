//! The rack's clock: never goes back, whatever happens to wall time.
//!
//! It starts at the larger of wall time and the last committed time and is advanced by the boot clock alone, which also
//! counts while the machine sleeps. Wall time is for display.

use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hoist_core::model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Tells the time that decisions use, and waits on it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds on the rack's clock.
    fn now(&self) -> Timestamp;

    /// Returns when `now()` is at least `until`.
    fn sleep_until(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The clock of a real machine.
#[derive(Debug)]
pub(crate) struct BootClock {
    start: Timestamp,
    boot_at_start: Duration,
}

impl BootClock {
    /// Starts a clock that is never behind `last_committed`.
    pub(crate) fn new(last_committed: Timestamp) -> Self {
        Self {
            start: wall().max(last_committed),
            boot_at_start: boot(),
        }
    }
}

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        let passed = boot().saturating_sub(self.boot_at_start);
        Timestamp(self.start.0 + passed.as_millis() as u64)
    }

    fn sleep_until(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let wait = Duration::from_millis(until.0.saturating_sub(self.now().0));
        Box::pin(tokio::time::sleep(wait))
    }
}

fn boot() -> Duration {
    // The boot clock exists on every Linux that Hoist runs on; without it time would stand still, which is safe.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Wall time, for display only.
pub(crate) fn wall() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(since_epoch.as_millis() as u64)
}
