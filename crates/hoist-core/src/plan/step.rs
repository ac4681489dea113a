//! Decides the next transition, or says what is waited for.

use crate::id::{ServiceName, Slot, Version, WorkloadId};
use crate::limits::{BACK_STEP_LIMIT, DRAIN_LIMIT, SHIFT_LIMIT};
use crate::model::{
    App, BackStep, Cancel, Millis, Observation, Outcome, Phase, Promotion, PromotionKind, Reason,
    ReplaceStep, Retiring, Standing, TaskStatus, Timestamp, Workload,
};

use super::gate::{Begun, Gate, gate, lost, stale};
use super::shape::{
    held, held_by_engine, kept, memory_bytes, others, replaces, restoring, retired, routed, serves,
    service_of, serving, targets, withdrawn,
};
use super::waiting::{Part, Waiting};
use super::{Transition, Verdict, postdeploy, renewal, resize, retire};

/// Decides the next transition of an app, or says what is waited for.
pub fn step(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    if router_changed(app, seen) {
        return Verdict::Go(Transition::RouterChanged {
            incarnation: seen.router.incarnation,
        });
    }
    let mut waiting = Vec::new();
    let promotion = app
        .promotion
        .as_ref()
        .map(|promotion| advance(app, promotion, seen, now));
    let rest = [
        renewal::step,
        resize::step,
        retire::step,
        postdeploy::step,
        settle,
    ];
    let rest = rest.map(|part| part(app, seen, now));
    for verdict in promotion.into_iter().chain(rest) {
        match verdict {
            Verdict::Go(transition) => return Verdict::Go(transition),
            Verdict::Wait(more) => waiting.extend(more),
            Verdict::Rest => {}
        }
    }
    match waiting.is_empty() {
        true => Verdict::Rest,
        false => Verdict::Wait(waiting),
    }
}

/// When time alone could change the answer of [`step`] next; none when only reality or a command can.
pub fn due(app: &App, now: Timestamp) -> Option<Timestamp> {
    let mut times = Vec::new();
    if let Some(promotion) = &app.promotion {
        times.extend(promotion_times(app, promotion));
    }
    times.extend(resize::times(app));
    times.extend(renewal::times(app));
    times.extend(postdeploy::times(app));
    times.extend(
        app.retiring
            .values()
            .flat_map(|retiring| [retiring.warm_until, retiring.until]),
    );
    if let Standing::Stopping { entered, .. } = app.standing {
        times.push(entered + DRAIN_LIMIT + BACK_STEP_LIMIT);
    }
    times.into_iter().filter(|time| *time > now).min()
}

/// When the promotion in flight goes on by the clock alone, whatever else of the app has its time before that.
pub fn promotion_due(app: &App, now: Timestamp) -> Option<Timestamp> {
    let times = promotion_times(app, app.promotion.as_ref()?);
    times.into_iter().filter(|time| *time > now).min()
}

fn promotion_times(app: &App, promotion: &Promotion) -> Vec<Timestamp> {
    let starts = |times: &mut Vec<Timestamp>| {
        let services = targets(app, promotion)
            .filter_map(|(_, workload, _)| service_of(app, &workload).cloned());
        times.extend(services.map(|service| promotion.entered + service.start_limit));
    };
    let mut times = vec![promotion.deadline];
    match promotion.phase {
        Phase::Preparing | Phase::Replacing(ReplaceStep::Stopping) => {}
        Phase::Starting | Phase::Replacing(ReplaceStep::Starting) => starts(&mut times),
        Phase::Replacing(ReplaceStep::Draining) => {
            times.push(promotion.entered + replace_drain_limit(app, promotion))
        }
        Phase::Shifting => times.push(promotion.entered + SHIFT_LIMIT),
        Phase::Draining => times = vec![promotion.entered + DRAIN_LIMIT],
        Phase::RollingBack { .. } => {
            times = vec![promotion.entered + BACK_STEP_LIMIT];
            starts(&mut times);
        }
    }
    times
}

/// Whether the router began a life that an app with traffic has not taken note of.
fn router_changed(app: &App, seen: &Observation) -> bool {
    let bare = app.serving.is_none() && app.promotion.is_none() && app.retiring.is_empty();
    !bare
        && seen.router.look > app.router.since
        && seen.router.incarnation != app.router.incarnation
}

/// Whether the promotion in flight has a release command to run.
pub fn runs_release_command(app: &App) -> bool {
    let promotion = app.promotion.as_ref();
    promotion.is_some_and(|promotion| has_command(app, promotion))
}

/// Whether the promotion runs a release command at all: going back, restarting and starting do not migrate again.
pub(super) fn has_command(app: &App, promotion: &Promotion) -> bool {
    let asks = promotion.kind == PromotionKind::Promote;
    asks && app
        .releases
        .get(&promotion.target)
        .is_some_and(|release| release.has_release_command)
}

fn advance(app: &App, promotion: &Promotion, seen: &Observation, now: Timestamp) -> Verdict {
    let goes_back = |cancel: &Cancel| match promotion.phase {
        Phase::RollingBack { .. } => false,
        // What is superseded only then has succeeded; its successor need not wait for old requests.
        Phase::Draining => *cancel == Cancel::ByUser,
        _ => true,
    };
    if let Some(cancel) = promotion.cancel.filter(goes_back) {
        return back(app, promotion, Reason::Cancelled(cancel));
    }
    let verdict = match &promotion.phase {
        Phase::Preparing => preparing(app, promotion, seen),
        Phase::Starting => starting(app, promotion, seen, now),
        Phase::Replacing(step) => replacing(app, promotion, *step, seen, now),
        Phase::Shifting => shifting(app, promotion, seen, now),
        Phase::Draining => return draining(app, promotion, seen, now),
        Phase::RollingBack {
            step,
            reason,
            complete,
        } => {
            return rolling_back(app, promotion, (*step, reason, *complete), seen, now);
        }
    };
    match verdict {
        Verdict::Wait(_) if now >= promotion.deadline => {
            let limit = promotion.deadline.since(promotion.began);
            back(
                app,
                promotion,
                Reason::DeadlineExceeded {
                    during: promotion.phase.name(),
                    limit,
                },
            )
        }
        verdict => verdict,
    }
}

fn enter(phase: Phase) -> Verdict {
    Verdict::Go(Transition::Enter { phase })
}

/// Begins to go back, at the first step that has something to do.
fn back(app: &App, promotion: &Promotion, reason: Reason) -> Verdict {
    let step = match promotion.phase {
        Phase::Preparing | Phase::Starting => BackStep::Removing,
        _ if withdrawn(app).is_empty() => BackStep::ShiftingBack,
        _ => BackStep::Restoring,
    };
    enter(Phase::RollingBack {
        step,
        reason,
        complete: true,
    })
}

fn preparing(app: &App, promotion: &Promotion, seen: &Observation) -> Verdict {
    if has_command(app, promotion) {
        match seen.engine.release_commands.get(&promotion.number) {
            Some(TaskStatus::Ended(exit)) if exit.code != 0 => {
                return back(app, promotion, Reason::ReleaseCommandFailed(*exit));
            }
            Some(TaskStatus::Ended(_)) => {}
            Some(TaskStatus::Running) | None => {
                return Verdict::Wait(vec![Waiting::ReleaseCommand {
                    until: promotion.deadline,
                }]);
            }
        }
    }
    let needed_bytes = needed_bytes(app, promotion);
    if needed_bytes == 0 {
        return enter(Phase::Starting);
    }
    let blind = stale(seen, promotion.since, &[Part::Engine]);
    if !blind.is_empty() {
        return Verdict::Wait(blind);
    }
    match seen
        .engine
        .memory_free_bytes
        .filter(|free| *free < needed_bytes)
    {
        None => enter(Phase::Starting),
        Some(free_bytes) => make_room(app, promotion, seen, needed_bytes, free_bytes),
    }
}

/// Old processes that are only kept warm give way to new ones, if that is enough; else there is no capacity.
fn make_room(
    app: &App,
    promotion: &Promotion,
    seen: &Observation,
    needed_bytes: u64,
    free_bytes: u64,
) -> Verdict {
    let warm = |(id, retiring): (&WorkloadId, &Retiring)| {
        bytes(app, &retired(id, retiring), retiring.slots)
    };
    let free = || app.retiring.iter().filter(|(id, _)| !kept(app, id));
    let room = free().map(warm).fold(free_bytes, u64::saturating_add);
    let idle = |(id, retiring): &(&WorkloadId, &Retiring)| {
        in_flight(app, seen, retiring.since, |other, _| other == *id) == Some(0)
    };
    let idle = free().find(idle).filter(|_| room >= needed_bytes);
    if let Some((workload, _)) = idle {
        let workload = workload.clone();
        return Verdict::Go(Transition::Retire { workload });
    }
    // What was let go may still be on its way out; what is kept and would not be enough stays.
    let stays = |id: &WorkloadId| {
        serves(app, id)
            || targets(app, promotion).any(|(_, workload, _)| workload.id == *id)
            || (room < needed_bytes && app.retiring.contains_key(id))
    };
    match held_by_engine(app, seen).all(stays) {
        true => back(
            app,
            promotion,
            Reason::NoCapacity {
                needed_bytes,
                free_bytes,
            },
        ),
        false => Verdict::Wait(vec![Waiting::Memory {
            needed_bytes,
            free_bytes,
        }]),
    }
}

/// What the new processes may take beyond what the ones they replace give back.
fn needed_bytes(app: &App, promotion: &Promotion) -> u64 {
    let new =
        targets(app, promotion).filter(|(_, workload, _)| workload.id.attempt == promotion.number);
    let need = |(name, workload, slots): (&ServiceName, Workload, u16)| {
        let freed = serving(app, name).filter(|_| replaces(app, promotion, name));
        let freed = freed.map_or(0, |old| bytes(app, old, held(app, name)));
        bytes(app, &workload, slots).saturating_sub(freed)
    };
    new.map(need).fold(0, u64::saturating_add)
}

/// What the slots of a workload may take.
fn bytes(app: &App, workload: &Workload, slots: u16) -> u64 {
    memory_bytes(app, workload).saturating_mul(slots.into())
}

/// The decision that entered the promotion's phase.
fn begun(promotion: &Promotion, limit: Option<Millis>) -> Begun {
    Begun {
        since: promotion.since,
        entered: promotion.entered,
        limit,
        restarts: 0,
    }
}

/// Slots that must pass the gate: all that do not serve already.
fn gated(app: &App, promotion: &Promotion, with_replaced: bool) -> Vec<(Workload, Slot)> {
    let due = targets(app, promotion).filter(|(name, workload, _)| {
        !serves(app, &workload.id) && (with_replaced || !replaces(app, promotion, name))
    });
    due.flat_map(|(_, workload, slots)| (1..=slots).map(move |slot| (workload.clone(), slot)))
        .collect()
}

fn starting(app: &App, promotion: &Promotion, seen: &Observation, now: Timestamp) -> Verdict {
    let slots = gated(app, promotion, false);
    match gate(app, seen, &slots, &begun(promotion, None), now) {
        Gate::Passed
            if promotion
                .services
                .keys()
                .any(|name| replaces(app, promotion, name)) =>
        {
            enter(Phase::Replacing(ReplaceStep::Draining))
        }
        Gate::Passed => enter(Phase::Shifting),
        Gate::Failed(reason) => back(app, promotion, reason),
        Gate::Closed(waiting) => Verdict::Wait(waiting),
    }
}

fn replacing(
    app: &App,
    promotion: &Promotion,
    step: ReplaceStep,
    seen: &Observation,
    now: Timestamp,
) -> Verdict {
    match step {
        ReplaceStep::Draining => {
            let old: Vec<_> = replaced(app, promotion)
                .filter(|old| routed(app, old))
                .collect();
            if old.is_empty() {
                return enter(Phase::Replacing(ReplaceStep::Stopping));
            }
            if let Some(waiting) = unacknowledged(seen, promotion.since, Some(promotion.deadline)) {
                return Verdict::Wait(vec![waiting]);
            }
            let until = promotion.entered + replace_drain_limit(app, promotion);
            let in_flight = in_flight(app, seen, promotion.since, |id, _| {
                old.iter().any(|old| old.id == *id)
            });
            match in_flight == Some(0) || now >= until {
                true => enter(Phase::Replacing(ReplaceStep::Stopping)),
                false => Verdict::Wait(vec![Waiting::Drain { in_flight, until }]),
            }
        }
        ReplaceStep::Stopping => {
            let blind = stale(seen, promotion.since, &[Part::Engine]);
            if !blind.is_empty() {
                return Verdict::Wait(blind);
            }
            let new: Vec<_> = targets(app, promotion)
                .filter(|(name, ..)| replaces(app, promotion, name))
                .collect();
            let left = new
                .iter()
                .flat_map(|(_, workload, _)| others(seen, &workload.id));
            match gone(left, Some(promotion.deadline)) {
                None => enter(Phase::Replacing(ReplaceStep::Starting)),
                Some(waiting) => Verdict::Wait(vec![waiting]),
            }
        }
        ReplaceStep::Starting => {
            let slots = gated(app, promotion, true);
            match gate(app, seen, &slots, &begun(promotion, None), now) {
                Gate::Passed => enter(Phase::Shifting),
                Gate::Failed(reason) => back(app, promotion, reason),
                Gate::Closed(waiting) => Verdict::Wait(waiting),
            }
        }
    }
}

/// Serving workloads that stop before the new ones start.
fn replaced<'a>(app: &'a App, promotion: &'a Promotion) -> impl Iterator<Item = &'a Workload> {
    let workloads = app.serving.iter().flat_map(|serving| &serving.workloads);
    workloads
        .filter(|(name, _)| replaces(app, promotion, name))
        .map(|(_, workload)| workload)
}

/// How long requests of replaced processes may take: the router holds others meanwhile.
fn replace_drain_limit(app: &App, promotion: &Promotion) -> Millis {
    let limits = replaced(app, promotion)
        .filter_map(|old| service_of(app, old))
        .map(|service| service.drain_limit);
    limits.max().unwrap_or_default().min(DRAIN_LIMIT)
}

fn shifting(app: &App, promotion: &Promotion, seen: &Observation, now: Timestamp) -> Verdict {
    if let Some(service) = lost_service(app, promotion, seen) {
        return back(app, promotion, Reason::LostHealth { service });
    }
    let until = promotion.entered + SHIFT_LIMIT;
    let mut waiting = stale(seen, promotion.since, &[Part::Engine]);
    waiting.extend(unacknowledged(seen, promotion.since, Some(until)));
    match waiting.is_empty() {
        true => enter(Phase::Draining),
        false if now >= until => {
            let reason = Reason::DeadlineExceeded {
                during: promotion.phase.name(),
                limit: SHIFT_LIMIT,
            };
            back(app, promotion, reason)
        }
        false => Verdict::Wait(waiting),
    }
}

fn draining(app: &App, promotion: &Promotion, seen: &Observation, now: Timestamp) -> Verdict {
    if let Some(service) = lost_service(app, promotion, seen) {
        return back(app, promotion, Reason::LostHealth { service });
    }
    let until = promotion.entered + DRAIN_LIMIT;
    let mut waiting = stale(seen, promotion.since, &[Part::Engine, Part::Router]);
    let new = |id: &WorkloadId| targets(app, promotion).any(|(_, workload, _)| workload.id == *id);
    let in_flight = in_flight(app, seen, app.routes_since, |id, _| {
        serves(app, id) && !new(id)
    });
    if in_flight != Some(0) {
        waiting.push(Waiting::Drain { in_flight, until });
    }
    match waiting.is_empty() || now >= until || promotion.cancel == Some(Cancel::BySuperseding) {
        true => Verdict::Go(Transition::End {
            outcome: Outcome::Succeeded,
        }),
        false => Verdict::Wait(waiting),
    }
}

/// A service of the target that has no running process left, by a look that is newer than the phase.
fn lost_service(app: &App, promotion: &Promotion, seen: &Observation) -> Option<ServiceName> {
    if !stale(seen, promotion.since, &[Part::Engine]).is_empty() {
        return None;
    }
    let mut own = targets(app, promotion).filter(|(_, workload, _)| !serves(app, &workload.id));
    let (name, ..) = own.find(|(_, workload, slots)| lost(seen, workload, *slots))?;
    Some(name.clone())
}

fn rolling_back(
    app: &App,
    promotion: &Promotion,
    (step, reason, complete): (BackStep, &Reason, bool),
    seen: &Observation,
    now: Timestamp,
) -> Verdict {
    let until = promotion.entered + BACK_STEP_LIMIT;
    let late = now >= until;
    let next = |step, complete| {
        enter(Phase::RollingBack {
            step,
            reason: reason.clone(),
            complete,
        })
    };
    match step {
        BackStep::Restoring => {
            let begun = begun(promotion, Some(BACK_STEP_LIMIT));
            match gate(app, seen, &restored(app), &begun, now) {
                Gate::Passed => next(BackStep::ShiftingBack, complete),
                Gate::Failed(_) => next(BackStep::ShiftingBack, false),
                Gate::Closed(_) if late => next(BackStep::ShiftingBack, false),
                Gate::Closed(waiting) => Verdict::Wait(waiting),
            }
        }
        BackStep::ShiftingBack => match unacknowledged(seen, promotion.since, Some(until)) {
            None => next(BackStep::Removing, complete),
            Some(_) if late => next(BackStep::Removing, false),
            Some(waiting) => Verdict::Wait(vec![waiting]),
        },
        BackStep::Removing => {
            let command =
                seen.engine.release_commands.get(&promotion.number) == Some(&TaskStatus::Running);
            let mut waiting = stale(seen, promotion.since, &[Part::Engine]);
            let own = |id: &&WorkloadId| id.attempt == promotion.number;
            waiting.extend(gone(held_by_engine(app, seen).filter(own), Some(until)));
            waiting.extend(command.then_some(Waiting::ReleaseCommandStop));
            match waiting.is_empty() || (late && !command) {
                true => Verdict::Go(Transition::End {
                    outcome: outcome(app, reason, complete),
                }),
                false => Verdict::Wait(waiting),
            }
        }
    }
}

/// Slots of the old processes that come up again.
fn restored(app: &App) -> Vec<(Workload, Slot)> {
    let workloads = app.serving.iter().flat_map(|serving| &serving.workloads);
    let again = workloads.filter(|(_, workload)| restoring(app, workload));
    again
        .flat_map(|(name, workload)| (1..=held(app, name)).map(|slot| (workload.clone(), slot)))
        .collect()
}

/// How a promotion that went back ended.
fn outcome(app: &App, reason: &Reason, complete: bool) -> Outcome {
    let bare = app
        .serving
        .as_ref()
        .is_none_or(|serving| serving.workloads.is_empty());
    match reason {
        _ if !complete => Outcome::Failed(reason.clone()),
        Reason::Cancelled(Cancel::ByUser) => Outcome::Cancelled,
        Reason::Cancelled(Cancel::BySuperseding) => Outcome::Superseded,
        _ if bare => Outcome::Failed(reason.clone()),
        _ => Outcome::RolledBack(reason.clone()),
    }
}

/// Ends stopping and deletion when nothing is left.
fn settle(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    let (since, until, end) = match app.standing {
        Standing::Up | Standing::Stopped => return Verdict::Rest,
        Standing::Stopping { since, entered } => (
            since,
            Some(entered + DRAIN_LIMIT + BACK_STEP_LIMIT),
            Transition::Stopped,
        ),
        Standing::Deleting { since, .. } => (since, None, Transition::Deleted),
    };
    if app.promotion.is_some() || !app.retiring.is_empty() || !app.postdeploys.is_empty() {
        return Verdict::Rest;
    }
    let mut waiting = stale(seen, since, &[Part::Engine]);
    waiting.extend(gone(held_by_engine(app, seen), until));
    match waiting.is_empty() || until.is_some_and(|until| now >= until) {
        true => Verdict::Go(end),
        false => Verdict::Wait(waiting),
    }
}

/// What is left of workloads that must be gone; none when nothing is.
fn gone<'a>(
    left: impl Iterator<Item = &'a WorkloadId>,
    until: Option<Timestamp>,
) -> Option<Waiting> {
    let workloads: Vec<_> = left.cloned().collect();
    (!workloads.is_empty()).then_some(Waiting::Gone { workloads, until })
}

/// What is missing until the router is known to run a table newer than a decision; none when it does.
pub(super) fn unacknowledged(
    seen: &Observation,
    since: Version,
    until: Option<Timestamp>,
) -> Option<Waiting> {
    let router = &seen.router;
    (router.look <= since || router.version <= since).then_some(Waiting::Router {
        newer_than: since,
        running: router.version,
        until,
    })
}

/// Requests in flight on the slots that `of` names, if the router has counted since before `since`.
pub(super) fn in_flight(
    app: &App,
    seen: &Observation,
    since: Version,
    of: impl Fn(&WorkloadId, Slot) -> bool,
) -> Option<u32> {
    let router = &seen.router;
    let counted = router.incarnation == app.router.incarnation && app.router.since < since;
    let counts = router
        .in_flight
        .iter()
        .filter(|(slot, _)| of(&slot.workload, slot.slot));
    counted.then(|| counts.map(|(_, count)| *count).sum())
}
