//! The gate: what must be true of processes before anything depends on them, and what ends the wait early.

use crate::id::{Slot, SlotId, Version};
use crate::limits::{EXITS_BEFORE_READY_MAX, START_LIMIT};
use crate::model::{
    App, Exit, ExitCause, Millis, Observation, Probe, Process, ProcessState, Reason, Timestamp,
    Unready, Workload,
};

use super::waiting::{Part, Waiting};

/// What the gate says of some slots.
#[derive(Debug)]
pub(super) enum Gate {
    /// All are ready.
    Passed,
    /// Not yet.
    Closed(Vec<Waiting>),
    /// Waiting does not help, or was long enough.
    Failed(Reason),
}

/// What one slot looks like, engine and probe together.
pub(super) enum Health<'a> {
    /// It runs and a probe found it ready.
    Ready,
    /// It runs and no probe has an opinion.
    Unknown,
    /// It runs, and is not ready.
    Unready(&'a Probe),
    /// It does not run, or does not exist yet.
    Down,
}

/// Looks at one slot.
pub(super) fn health<'a>(seen: &'a Observation, slot: &SlotId) -> Health<'a> {
    match process(seen, slot).map(|process| process.state) {
        Some(ProcessState::Running) => match seen.probes.slots.get(slot) {
            Some(Probe::Ready) => Health::Ready,
            Some(probe) => Health::Unready(probe),
            None => Health::Unknown,
        },
        Some(ProcessState::Exited(_) | ProcessState::Stopping) | None => Health::Down,
    }
}

fn process<'a>(seen: &'a Observation, slot: &SlotId) -> Option<&'a Process> {
    seen.engine.workloads.get(&slot.workload)?.get(&slot.slot)
}

/// The parts of an observation, of those named, that are not newer than a decision.
pub(super) fn stale(seen: &Observation, since: Version, parts: &[Part]) -> Vec<Waiting> {
    let look = |part: &Part| match part {
        Part::Engine => seen.engine.look,
        Part::Probes => seen.probes.look,
        Part::Router => seen.router.look,
    };
    let old = parts.iter().filter(|part| look(part) <= since);
    old.map(|part| Waiting::Look { part: *part }).collect()
}

/// The decision that began a wait.
pub(super) struct Begun {
    /// Its number: looks must be newer.
    pub(super) since: Version,
    /// When it was made.
    pub(super) entered: Timestamp,
    /// How long the wait may be; each service's own start limit when none.
    pub(super) limit: Option<Millis>,
    /// Exits that its process had behind it then, and that do not count.
    pub(super) restarts: u32,
}

/// Asks whether all slots passed.
pub(super) fn gate(
    app: &App,
    seen: &Observation,
    slots: &[(Workload, Slot)],
    begun: &Begun,
    now: Timestamp,
) -> Gate {
    let Begun {
        since,
        entered,
        limit,
        restarts,
    } = *begun;
    let blind = stale(seen, since, &[Part::Engine, Part::Probes]);
    let mut waiting = Vec::new();
    let mut late = None;
    for (workload, number) in slots {
        let slot = SlotId {
            workload: workload.id.clone(),
            slot: *number,
        };
        if blind.is_empty() && matches!(health(seen, &slot), Health::Ready) {
            continue;
        }
        if seen.engine.look > since
            && let Some(reason) = hopeless(seen, &slot, since, restarts)
        {
            return Gate::Failed(reason);
        }
        let own = || super::shape::service_of(app, workload).map(|service| service.start_limit);
        let limit = limit.or_else(own).unwrap_or(START_LIMIT);
        let found = found(seen, &slot);
        if now >= entered + limit {
            late.get_or_insert(Reason::NotReadyInTime { slot, found, limit });
        } else {
            waiting.push(Waiting::Ready {
                slot,
                found,
                until: entered + limit,
            });
        }
    }
    match late {
        Some(reason) => Gate::Failed(reason),
        None if waiting.is_empty() && blind.is_empty() => Gate::Passed,
        None => Gate::Closed(blind.into_iter().chain(waiting).collect()),
    }
}

/// What is known against a slot that is not ready.
fn found(seen: &Observation, slot: &SlotId) -> Option<Unready> {
    match health(seen, slot) {
        Health::Unready(Probe::Unready(found) | Probe::Hopeless(found)) => Some(found.clone()),
        Health::Down if process(seen, slot).is_some() => Some(Unready::NotRunning),
        Health::Down | Health::Ready | Health::Unknown | Health::Unready(Probe::Ready) => None,
    }
}

/// Why waiting for a slot does not help, if it does not.
fn hopeless(seen: &Observation, slot: &SlotId, since: Version, restarts: u32) -> Option<Reason> {
    if let Some(message) = seen.engine.refused.get(&slot.workload) {
        let (service, message) = (slot.workload.service.clone(), message.clone());
        return Some(Reason::Refused { service, message });
    }
    // Exits count against what is down or known not to be ready; not against what may be ready again.
    let found = match health(seen, slot) {
        Health::Down => None,
        Health::Unready(found) if seen.probes.look > since => Some(found),
        Health::Ready | Health::Unknown | Health::Unready(_) => return None,
    };
    let slot = slot.clone();
    let exits = exits(process(seen, &slot)?)
        .map(|(times, exit)| (times.saturating_sub(restarts), exit))
        .filter(|(times, _)| *times > 0);
    if let Some((times, exit)) = exits {
        if matches!(exit.cause, ExitCause::OutOfMemory | ExitCause::ExecFailed) {
            return Some(Reason::CannotRun { slot, exit });
        }
        if times >= EXITS_BEFORE_READY_MAX {
            return Some(Reason::ExitedBeforeReady { slot, times, exit });
        }
    }
    match found {
        Some(Probe::Hopeless(found)) => {
            let found = found.clone();
            Some(Reason::Hopeless { slot, found })
        }
        _ => None,
    }
}

/// How often a process exited, and its last exit.
fn exits(process: &Process) -> Option<(u32, Exit)> {
    match process.state {
        ProcessState::Exited(exit) => Some((process.restarts + 1, exit)),
        ProcessState::Running | ProcessState::Stopping => {
            Some((process.restarts, process.last_exit?))
        }
    }
}

/// Whether none of a workload's slots runs any more. Says so only when it is known: a missing verdict, or a slow
/// answer, is not a lost process.
pub(super) fn lost(seen: &Observation, workload: &Workload, slots: u16) -> bool {
    let down = |number| {
        let slot = SlotId {
            workload: workload.id.clone(),
            slot: number,
        };
        matches!(health(seen, &slot), Health::Down)
    };
    slots > 0 && (1..=slots).all(down)
}
