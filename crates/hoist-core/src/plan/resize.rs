//! Changes of a service's size while its release stays: running processes are not touched, new ones join the route when
//! they are ready, leaving ones drain first.

use crate::id::{ServiceName, Slot, Version, WorkloadId};
use crate::limits::{DRAIN_LIMIT, START_LIMIT};
use crate::model::{
    App, Observation, Phase, Planned, Reason, Resize, ResizeStage, Standing, Timestamp, Workload,
};

use super::gate::{Begun, Gate, gate, stale};
use super::shape::{memory_bytes, routed, service_of, serving, size};
use super::step::{in_flight, unacknowledged};
use super::waiting::{Part, Waiting};
use super::{Transition, Verdict};

/// Decides what is next for the app's resizes, and begins those that had to wait.
pub(super) fn step(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    let mut waiting = Vec::new();
    for (name, resize) in &app.resizes {
        let Some(workload) = serving(app, name) else {
            continue;
        };
        match advance(app, (name, workload, resize), seen, now) {
            Verdict::Go(transition) => return Verdict::Go(transition),
            Verdict::Wait(more) => waiting.extend(more),
            Verdict::Rest => {}
        }
    }
    match begin(app, seen) {
        Verdict::Go(transition) => return Verdict::Go(transition),
        Verdict::Wait(more) => waiting.extend(more),
        Verdict::Rest => {}
    }
    Verdict::Wait(waiting)
}

/// Times at which a resize gives up waiting.
pub(super) fn times(app: &App) -> impl Iterator<Item = Timestamp> {
    app.resizes.iter().filter_map(|(name, resize)| {
        let service = serving(app, name).and_then(|workload| service_of(app, workload));
        match resize.stage {
            ResizeStage::Growing => {
                Some(resize.entered + service.map_or(START_LIMIT, |service| service.start_limit))
            }
            ResizeStage::Draining => {
                Some(resize.entered + service.map_or(DRAIN_LIMIT, |service| service.drain_limit))
            }
            ResizeStage::Unrouting | ResizeStage::Removing => None,
        }
    })
}

/// Whether the app may begin a resize of what serves: not while traffic is on its way elsewhere.
pub(super) fn may_begin(app: &App) -> bool {
    let calm = app
        .promotion
        .as_ref()
        .is_none_or(|promotion| matches!(promotion.phase, Phase::Preparing | Phase::Starting));
    calm && app.standing == Standing::Up
}

/// The first stage of a resize.
pub(super) fn first_stage(app: &App, workload: &Workload, from: u16, to: u16) -> ResizeStage {
    match to > from {
        true => ResizeStage::Growing,
        false if routed(app, workload) => ResizeStage::Unrouting,
        false => ResizeStage::Removing,
    }
}

/// Whether a promotion in flight replaces a service by one of that size: then what serves is left alone.
fn comes_anyway(app: &App, name: &ServiceName, size: u16) -> bool {
    let planned = app
        .promotion
        .as_ref()
        .and_then(|promotion| promotion.services.get(name));
    matches!(planned, Some(Planned::Replace { slots, .. }) if *slots == size)
}

/// Begins what is asked for and nothing is done about yet. A growth needs memory, and begins only when nothing is seen
/// above the present size: a late process there is on its way out, and must not be taken for a new one.
fn begin(app: &App, seen: &Observation) -> Verdict {
    let Some(serving) = app.serving.as_ref().filter(|_| may_begin(app)) else {
        return Verdict::Rest;
    };
    let due = serving.workloads.iter().find_map(|(name, workload)| {
        let from = serving.slots.get(name).copied().unwrap_or(0);
        let to = size(app, &serving.release, name);
        let due = !app.resizes.contains_key(name) && to != from && !comes_anyway(app, name, to);
        due.then_some((name, workload, from, to))
    });
    let Some((name, workload, from, to)) = due else {
        return Verdict::Rest;
    };
    let service = name.clone();
    if to < from {
        return Verdict::Go(Transition::ResizeBegun { service, from, to });
    }
    let blind = stale(seen, app.generation, &[Part::Engine]);
    if !blind.is_empty() {
        return Verdict::Wait(blind);
    }
    if !shrunk(seen, workload, from, app.generation) {
        return Verdict::Wait(vec![Waiting::Shrunk { service }]);
    }
    let each = memory_bytes(app, workload);
    let needed_bytes = each.saturating_mul((to - from).into());
    match seen
        .engine
        .memory_free_bytes
        .filter(|free| *free < needed_bytes)
    {
        Some(free_bytes) => {
            let reason = Reason::NoCapacity {
                needed_bytes,
                free_bytes,
            };
            Verdict::Go(Transition::ResizeFailed {
                service,
                from,
                to,
                reason,
            })
        }
        None => Verdict::Go(Transition::ResizeBegun { service, from, to }),
    }
}

fn advance(
    app: &App,
    (name, workload, resize): (&ServiceName, &Workload, &Resize),
    seen: &Observation,
    now: Timestamp,
) -> Verdict {
    let (service, from, to) = (name.clone(), resize.from, resize.to);
    let next = |stage| {
        Verdict::Go(Transition::ResizeAdvanced {
            service: name.clone(),
            stage,
        })
    };
    match resize.stage {
        ResizeStage::Growing => {
            let slots: Vec<_> = (from + 1..=to)
                .map(|slot| (workload.clone(), slot))
                .collect();
            let begun = Begun {
                since: resize.since,
                entered: resize.entered,
                limit: None,
                restarts: 0,
            };
            match gate(app, seen, &slots, &begun, now) {
                Gate::Passed => Verdict::Go(Transition::Resized { service, from, to }),
                Gate::Failed(reason) => Verdict::Go(Transition::ResizeFailed {
                    service,
                    from,
                    to,
                    reason,
                }),
                Gate::Closed(waiting) => Verdict::Wait(waiting),
            }
        }
        ResizeStage::Unrouting => match unacknowledged(seen, resize.since, None) {
            None => next(ResizeStage::Draining),
            Some(waiting) => Verdict::Wait(vec![waiting]),
        },
        ResizeStage::Draining => {
            let until = resize.entered
                + service_of(app, workload).map_or(DRAIN_LIMIT, |service| service.drain_limit);
            let mut waiting = stale(seen, resize.since, &[Part::Router]);
            let leaving = |id: &WorkloadId, slot: Slot| *id == workload.id && slot > to;
            let in_flight = in_flight(app, seen, resize.since, leaving);
            if in_flight != Some(0) {
                waiting.push(Waiting::Drain { in_flight, until });
            }
            match waiting.is_empty() || now >= until {
                true => next(ResizeStage::Removing),
                false => Verdict::Wait(waiting),
            }
        }
        ResizeStage::Removing => match shrunk(seen, workload, to, resize.since) {
            true => Verdict::Go(Transition::Resized { service, from, to }),
            false => Verdict::Wait(vec![Waiting::Shrunk { service }]),
        },
    }
}

/// Whether the engine, by a look newer than the decision, holds no slot above `to`.
fn shrunk(seen: &Observation, workload: &Workload, to: u16, since: Version) -> bool {
    let slots = seen.engine.workloads.get(&workload.id);
    seen.engine.look > since && slots.is_none_or(|slots| slots.keys().all(|slot| *slot <= to))
}
