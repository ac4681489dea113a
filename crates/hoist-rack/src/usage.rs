//! CPU and memory of processes: counters of the engine, turned into rates over the last seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use hoist_core::id::SlotId;
use hoist_engine::{Engine, Usage};
use tokio::time::Instant;

use crate::rack::Rack;

/// The pause between samples.
const PAUSE: Duration = Duration::from_secs(5);
/// A rate over less than this says nothing.
const SPAN_MIN: Duration = Duration::from_millis(200);

/// What a process uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Thousandths of a core over the last seconds.
    pub cpu_millicores: u64,
    /// Bytes now.
    pub memory_bytes: u64,
}

/// The last two samples of every process.
#[derive(Default)]
pub(crate) struct Sampler {
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    before: Option<(Instant, BTreeMap<SlotId, Usage>)>,
    last: Option<(Instant, BTreeMap<SlotId, Usage>)>,
}

impl Sampler {
    async fn sample(&self, engine: &dyn Engine) {
        if let Ok(usage) = engine.usage().await {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.before = samples.last.take();
            samples.last = Some((Instant::now(), usage));
        }
    }

    /// What every process uses now, measured against the last sample that is old enough.
    pub(crate) async fn rates(&self, engine: &dyn Engine) -> BTreeMap<SlotId, Rate> {
        let usage = engine.usage().await.unwrap_or_default();
        let now = Instant::now();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let old_enough = |at: &Instant| now.duration_since(*at) >= SPAN_MIN;
        let base = [&samples.last, &samples.before]
            .into_iter()
            .flatten()
            .find(|(at, _)| old_enough(at));
        usage
            .into_iter()
            .map(|(slot, usage)| {
                let rate = Rate {
                    cpu_millicores: base.map_or(0, |(at, before)| {
                        let then = before.get(&slot).map_or(usage.cpu_nanos, |u| u.cpu_nanos);
                        let span = now.duration_since(*at).as_nanos() as u64;
                        usage.cpu_nanos.saturating_sub(then) * 1_000 / span.max(1)
                    }),
                    memory_bytes: usage.memory_bytes,
                };
                (slot, rate)
            })
            .collect()
    }
}

/// Samples until the rack ends.
pub(crate) async fn run(rack: Weak<Rack>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(rack) = rack.upgrade() else {
            return;
        };
        rack.sampler.sample(&*rack.engine).await;
    }
}
