//! What each loop last did, and when it passes again.

use hoist_api::types::{DoctorItem, DoctorSection, Health};
use hoist_core::model::Millis;
use tokio::time::Instant;

use super::{count, item, ok, section, span};
use crate::control::LoopState;
use crate::pulse::{Beat, Pulse};
use crate::rack::Rack;

/// A loop that is late by this much does not run.
const SILENCE: Millis = Millis::from_secs(30);

/// The loops of a rack, the one that matters most first.
pub(super) fn examine(rack: &Rack, state: &LoopState) -> DoctorSection {
    let mut items = vec![control(rack, state), engine(rack, state)];
    let now = Instant::now();
    let pulses = rack.pulses.all();
    items.extend(pulses.map(|(name, pulse)| beside(name, pulse, now)));
    section("loops", items)
}

fn control(rack: &Rack, state: &LoopState) -> DoctorItem {
    let now = rack.clock.now();
    let silence = now.since(state.last_pass);
    let next = state.next_pass.since(now);
    let detail = format!(
        "{}, the last {} ago, the next within {}",
        count(state.passes, "pass", "passes"),
        span(silence),
        span(next)
    );
    let health = match silence < SILENCE {
        true => Health::Ok,
        false => Health::Bad,
    };
    item("control", health, detail)
}

fn engine(rack: &Rack, state: &LoopState) -> DoctorItem {
    match &state.engine_error {
        None => {
            let workloads = state.seen.workloads.values();
            let processes: usize = workloads.map(|slots| slots.len()).sum();
            let engine = rack.engine.capabilities().engine;
            ok(
                "engine",
                format!(
                    "{engine}: {}",
                    count(processes as u64, "process", "processes")
                ),
            )
        }
        Some(error) => {
            let detail = format!("looked at again at each pass: {error}");
            item("engine", Health::Bad, detail)
        }
    }
}

fn beside(name: &str, pulse: &Pulse, now: Instant) -> DoctorItem {
    let beat = pulse.beat();
    let late = now.saturating_duration_since(beat.next);
    let health = match (&beat.error, late > SILENCE.into()) {
        (None, false) => Health::Ok,
        (Some(_), _) | (_, true) => Health::Bad,
    };
    item(name, health, words(&beat, now))
}

fn words(beat: &Beat, now: Instant) -> String {
    let of = |length: std::time::Duration| span(Millis(length.as_millis() as u64));
    let next = of(beat.next.saturating_duration_since(now));
    let Some(last) = beat.last else {
        return format!("no pass yet, the first in {next}{}", did(beat));
    };
    let last = of(now.saturating_duration_since(last));
    match &beat.error {
        None => format!(
            "{}, the last {last} ago, the next in {next}{}",
            count(beat.passes, "pass", "passes"),
            did(beat)
        ),
        Some(why) => format!(
            "failed {} in a row, the last {last} ago, again in {next}: {why}",
            super::times(beat.failures)
        ),
    }
}

fn did(beat: &Beat) -> String {
    let did = beat.did.as_ref();
    did.map(|did| format!("; {did}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_loop_says_when_it_passes_again_and_why_it_failed() {
        let pulse = Pulse::new(Duration::from_secs(60));
        let first = words(&pulse.beat(), Instant::now());
        assert!(first.starts_with("no pass yet, the first in "), "{first}");
        pulse.passed(Err("the disk is full".to_owned()));
        pulse.passed(Err("the disk is still full".to_owned()));
        let beat = pulse.beat();
        let later = beat.last.expect("it passed") + Duration::from_secs(20);
        let expected =
            "failed 2 times in a row, the last 20 s ago, again in 40 s: the disk is still full";
        assert_eq!(words(&beat, later), expected);
        assert_eq!(beside("janitor", &pulse, later).state, Health::Bad);
        pulse.passed(Ok(()));
        let beat = pulse.beat();
        let last = beat.last.expect("it passed");
        assert_eq!(
            words(&beat, last),
            "3 passes, the last 0 ms ago, the next in 60 s"
        );
        assert_eq!(beside("janitor", &pulse, last).state, Health::Ok);
        pulse.did("freed 3 MB".to_owned());
        assert!(words(&pulse.beat(), last).ends_with("the next in 60 s; freed 3 MB"));
    }

    #[test]
    fn a_loop_that_is_late_does_not_run() {
        let pulse = Pulse::new(Duration::from_secs(60));
        let due = pulse.beat().next;
        let at = |late| beside("janitor", &pulse, due + Duration::from_secs(late)).state;
        assert_eq!((at(29), at(31)), (Health::Ok, Health::Bad));
    }
}
