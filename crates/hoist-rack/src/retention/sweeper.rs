//! Collects old releases and builds of all apps, once an hour and soon after a start.

use std::sync::Weak;
use std::time::Duration;

use crate::error::with_causes;
use crate::rack::Rack;

/// The pause before the first sweep: a rack that starts has more urgent things to do.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(600);
/// The pause before each further one.
pub(crate) const PAUSE: Duration = Duration::from_secs(3600);
/// How long a sweep may take before `doctor` finds it late.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// Sweeps until the rack ends.
pub(crate) async fn run(rack: Weak<Rack>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let Some(rack) = rack.upgrade() else {
            return;
        };
        rack.pulses.retention.begins(SWEEP_LIMIT);
        let swept = rack.prune(None, false).await;
        let failure = match swept {
            Ok(swept) => swept.failure(),
            Err(error) => Some(with_causes(&error)),
        };
        rack.pulses.retention.passed(failure.map_or(Ok(()), Err));
        pause = PAUSE;
    }
}
