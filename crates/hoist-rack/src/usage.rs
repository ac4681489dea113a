//! CPU and memory of processes: counters of the engine, turned into rates over the last seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use hoist_engine::{Beside, Engine, EngineError, Usage};
use tokio::time::Instant;

use crate::error::with_causes;
use crate::rack::Rack;

/// The pause between samples.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
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
    before: Option<(Instant, BTreeMap<Beside, Usage>)>,
    last: Option<(Instant, BTreeMap<Beside, Usage>)>,
}

impl Sampler {
    async fn sample(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        let usage = measure(engine).await?;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.before = samples.last.take();
        samples.last = Some((Instant::now(), usage));
        Ok(())
    }

    /// What these processes use: from the last samples while they are young and know all of them, else measured now.
    pub(crate) async fn rates(
        &self,
        engine: &dyn Engine,
        processes: &[Beside],
    ) -> BTreeMap<Beside, Rate> {
        let now = Instant::now();
        {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, last)) = &samples.last
                && now.duration_since(*at) < PAUSE * 2
                && processes.iter().all(|process| last.contains_key(process))
            {
                return rates_between(samples.before.as_ref(), *at, last);
            }
        }
        let usage = measure(engine).await.unwrap_or_default();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let old_enough = |at: &Instant| now.duration_since(*at) >= SPAN_MIN;
        let base = [&samples.last, &samples.before]
            .into_iter()
            .flatten()
            .find(|(at, _)| old_enough(at));
        rates_between(base, now, &usage)
    }
}

/// The counters of all processes: of services, and of tasks.
async fn measure(engine: &dyn Engine) -> Result<BTreeMap<Beside, Usage>, EngineError> {
    let of_services = engine.usage().await?.into_iter();
    let of_tasks = engine.task_usage().await?.into_iter();
    Ok(of_services
        .map(|(slot, usage)| (Beside::Slot(slot), usage))
        .chain(of_tasks.map(|(task, usage)| (Beside::Task(task), usage)))
        .collect())
}

/// Rates between two samples; without an earlier one of a process its CPU shows as nothing.
fn rates_between(
    before: Option<&(Instant, BTreeMap<Beside, Usage>)>,
    at: Instant,
    usage: &BTreeMap<Beside, Usage>,
) -> BTreeMap<Beside, Rate> {
    let rate = |process: &Beside, usage: &Usage| {
        let earlier = before.and_then(|(then, samples)| Some((*then, samples.get(process)?)));
        let cpu_millicores = earlier.map_or(0, |(then, earlier)| {
            let span = at.duration_since(then).as_nanos() as u64;
            usage.cpu_nanos.saturating_sub(earlier.cpu_nanos) * 1_000 / span.max(1)
        });
        Rate {
            cpu_millicores,
            memory_bytes: usage.memory_bytes,
        }
    };
    let rates = usage
        .iter()
        .map(|(process, usage)| (process.clone(), rate(process, usage)));
    rates.collect()
}

/// Samples until the rack ends.
pub(crate) async fn run(rack: Weak<Rack>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(rack) = rack.upgrade() else {
            return;
        };
        let sampled = rack.sampler.sample(&*rack.engine).await;
        rack.pulses
            .usage
            .passed(sampled.map_err(|error| with_causes(&error)));
    }
}
