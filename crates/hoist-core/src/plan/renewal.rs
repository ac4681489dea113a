//! Renewals: one process leaves the route, drains, stops, starts again in its slot and comes back through the gate, while
//! its release and the other processes stay. Somebody asked for it, or it no longer lived.

use crate::id::{Slot, SlotId, WorkloadId};
use crate::limits::{DRAIN_LIMIT, REVIVAL_FIRST, REVIVAL_FORGOTTEN, REVIVAL_SLOWEST, START_LIMIT};
use crate::model::{
    App, Life, Millis, Observation, Process, ProcessState, Renewal, RenewalCause, RenewalStage,
    ResizeStage, Revived, Timestamp, Workload,
};

use super::gate::{Begun, Gate, gate, stale};
use super::resize::may_begin;
use super::shape::{held, routed, service_of, serving, withdrawn};
use super::step::{in_flight, unacknowledged};
use super::waiting::{Part, Waiting};
use super::{Transition, Verdict};

/// Decides what is next for the app's renewals, and begins one for what no longer lives.
pub(super) fn step(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    let mut waiting = Vec::new();
    for (slot, renewal) in &app.renewals {
        match advance(app, slot, renewal, seen, now) {
            Verdict::Go(transition) => return Verdict::Go(transition),
            Verdict::Wait(more) => waiting.extend(more),
            Verdict::Rest => {}
        }
    }
    match dead(app, seen, now) {
        Some(transition) => Verdict::Go(transition),
        None => Verdict::Wait(waiting),
    }
}

/// Times at which a renewal gives up waiting, or may begin for what no longer lives.
pub(super) fn times(app: &App) -> impl Iterator<Item = Timestamp> {
    let renewals = app.renewals.iter().filter_map(|(slot, renewal)| {
        let service =
            serving(app, &slot.workload.service).and_then(|workload| service_of(app, workload));
        let limit = match renewal.stage {
            RenewalStage::Draining => service.map_or(DRAIN_LIMIT, |service| service.drain_limit),
            RenewalStage::Starting { .. } => {
                service.map_or(START_LIMIT, |service| service.start_limit)
            }
            RenewalStage::Unrouting | RenewalStage::Stopping => return None,
        };
        Some(renewal.entered + limit)
    });
    renewals.chain(app.revived.values().map(may_revive))
}

/// Whether a slot is one of those that serve and stay: of the workload that serves, and neither coming nor leaving.
pub(super) fn stands(app: &App, slot: &SlotId) -> bool {
    let name = &slot.workload.service;
    let serves = serving(app, name).is_some_and(|workload| workload.id == slot.workload);
    let last = match app.resizes.get(name) {
        Some(resize) if resize.stage == ResizeStage::Growing => resize.from,
        Some(resize) => resize.from.min(resize.to),
        None => held(app, name),
    };
    serves && slot.slot <= last && !withdrawn(app).contains(name)
}

/// Begins a renewal: from here on the route is without the process.
pub(super) fn begin(
    app: &mut App,
    slot: &SlotId,
    life: &Life,
    cause: RenewalCause,
    at: crate::id::Version,
    now: Timestamp,
) {
    let is_routed =
        serving(app, &slot.workload.service).is_some_and(|workload| routed(app, workload));
    let renewal = Renewal {
        life: life.clone(),
        cause,
        stage: match is_routed {
            true => RenewalStage::Unrouting,
            false => RenewalStage::Stopping,
        },
        since: at,
        entered: now,
    };
    app.renewals.insert(slot.clone(), renewal);
    app.routes_since = at;
    if cause == RenewalCause::NotAlive {
        let before = app.revived.get(slot);
        let recent = before.filter(|before| now.since(before.at) < REVIVAL_FORGOTTEN);
        let times = recent.map_or(1, |before| before.times.saturating_add(1));
        app.revived.insert(slot.clone(), Revived { times, at: now });
    }
}

/// Forgets what is about processes that no longer serve, or are leaving: they go their own way.
pub(super) fn forget(app: &mut App) {
    if app.renewals.is_empty() && app.revived.is_empty() {
        return;
    }
    let slots = app.renewals.keys().chain(app.revived.keys());
    let gone: Vec<_> = slots.filter(|slot| !stands(app, slot)).cloned().collect();
    for slot in gone {
        app.renewals.remove(&slot);
        app.revived.remove(&slot);
    }
}

/// When a process that was started again because it no longer lived may be once more.
pub fn may_revive(revived: &Revived) -> Timestamp {
    let doubled = REVIVAL_FIRST.0 << revived.times.saturating_sub(1).min(16);
    revived.at + Millis(doubled).min(REVIVAL_SLOWEST)
}

/// The first process that serves, runs and no longer lives, unless it was started again for that a moment ago.
fn dead(app: &App, seen: &Observation, now: Timestamp) -> Option<Transition> {
    if !may_begin(app) {
        return None;
    }
    let due = |slot: &SlotId| {
        !app.renewals.contains_key(slot)
            && stands(app, slot)
            && app
                .revived
                .get(slot)
                .is_none_or(|revived| now >= may_revive(revived))
    };
    seen.probes.dead.iter().find_map(|(slot, found)| {
        let process = process(seen, slot).filter(|process| process.state == ProcessState::Running);
        let life = process.filter(|_| due(slot))?.life();
        let (slot, found) = (slot.clone(), found.clone());
        Some(Transition::RenewalBegun { slot, life, found })
    })
}

fn process<'a>(seen: &'a Observation, slot: &SlotId) -> Option<&'a Process> {
    seen.engine.workloads.get(&slot.workload)?.get(&slot.slot)
}

/// Whether the engine still has the life that a renewal ends, and was not told so yet.
pub(super) fn must_stop(slot: &SlotId, renewal: &Renewal, seen: &Observation) -> bool {
    let old = |process: &Process| {
        process.life() == renewal.life && process.state != ProcessState::Stopping
    };
    renewal.stage == RenewalStage::Stopping
        && !seen.router.routed.contains(slot)
        && process(seen, slot).is_some_and(old)
}

fn advance(
    app: &App,
    slot: &SlotId,
    renewal: &Renewal,
    seen: &Observation,
    now: Timestamp,
) -> Verdict {
    let next = |stage| {
        let slot = slot.clone();
        Verdict::Go(Transition::RenewalAdvanced { slot, stage })
    };
    let Some(workload) = serving(app, &slot.workload.service) else {
        return Verdict::Rest;
    };
    match renewal.stage {
        RenewalStage::Unrouting => match unacknowledged(seen, renewal.since, None) {
            None => next(RenewalStage::Draining),
            Some(waiting) => Verdict::Wait(vec![waiting]),
        },
        RenewalStage::Draining => {
            let limit =
                service_of(app, workload).map_or(DRAIN_LIMIT, |service| service.drain_limit);
            let until = renewal.entered + limit;
            let mut waiting = stale(seen, renewal.since, &[Part::Router]);
            let own = |id: &WorkloadId, number: Slot| *id == slot.workload && number == slot.slot;
            let in_flight = in_flight(app, seen, renewal.since, own);
            if in_flight != Some(0) {
                waiting.push(Waiting::Drain { in_flight, until });
            }
            match waiting.is_empty() || now >= until {
                true => next(RenewalStage::Stopping),
                false => Verdict::Wait(waiting),
            }
        }
        RenewalStage::Stopping => match another(seen, slot, renewal) {
            Some(restarts) => next(RenewalStage::Starting { restarts }),
            None => Verdict::Wait(vec![Waiting::Renewed { slot: slot.clone() }]),
        },
        RenewalStage::Starting { restarts } => {
            starting(app, slot, (workload, renewal, restarts), seen, now)
        }
    }
}

/// The restarts of another life in the slot, by a look newer than the decision to stop the old one.
fn another(seen: &Observation, slot: &SlotId, renewal: &Renewal) -> Option<u32> {
    let process = process(seen, slot).filter(|_| seen.engine.look > renewal.since)?;
    let new = process.life() != renewal.life && process.state != ProcessState::Stopping;
    new.then_some(process.restarts)
}

fn starting(
    app: &App,
    slot: &SlotId,
    (workload, renewal, restarts): (&Workload, &Renewal, u32),
    seen: &Observation,
    now: Timestamp,
) -> Verdict {
    let begun = Begun {
        since: renewal.since,
        entered: renewal.entered,
        limit: None,
        restarts,
    };
    let slots = [(workload.clone(), slot.slot)];
    let slot = slot.clone();
    match gate(app, seen, &slots, &begun, now) {
        Gate::Passed => Verdict::Go(Transition::Renewed { slot }),
        Gate::Failed(reason) => Verdict::Go(Transition::RenewalFailed { slot, reason }),
        Gate::Closed(waiting) => Verdict::Wait(waiting),
    }
}
