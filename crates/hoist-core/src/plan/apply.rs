//! Makes the transitions that `step` decided: the only place where phases change.

use std::collections::BTreeMap;

use crate::id::{ServiceName, Version};
use crate::limits::{DRAIN_LIMIT, WARM_LIMIT};
use crate::model::{
    App, BackStep, Millis, Outcome, Phase, Planned, PromotionKind, RenewalCause, ReplaceStep,
    Resize, ResizeStage, Retiring, RouterLife, Serving, Standing, Timestamp, Workload,
};

use super::Transition;
use super::shape::{held, replaces, routed, serves, service_of, serving, size, targets, withdrawn};

/// Makes a transition. `at` is a fresh number of the rack's sequence, drawn by the commit that records it.
pub fn apply(app: &mut App, transition: &Transition, at: Version, now: Timestamp) {
    app.generation = at;
    match transition {
        Transition::Enter { phase } => enter(app, phase, at, now),
        Transition::End { outcome } => {
            if *outcome == Outcome::Succeeded {
                super::postdeploy::come_due(app, at, now);
            }
            end(app, outcome);
        }
        Transition::Retire { workload } => {
            app.retiring.remove(workload);
        }
        Transition::RouterChanged { incarnation } => {
            app.router = RouterLife {
                incarnation: *incarnation,
                since: at,
            };
        }
        Transition::ResizeBegun { service, from, to } => {
            begin_resize(app, service, *from, *to, at, now)
        }
        Transition::ResizeAdvanced { service, stage } => {
            if let Some(resize) = app.resizes.get_mut(service) {
                (resize.stage, resize.since, resize.entered) = (*stage, at, now);
            }
        }
        Transition::Resized { service, to, .. } => {
            app.resizes.remove(service);
            if let Some(serving) = &mut app.serving {
                serving.slots.insert(service.clone(), *to);
            }
        }
        Transition::ResizeFailed {
            service, from, to, ..
        } => {
            let release = app.serving.as_ref().map(|serving| serving.release.clone());
            // A newer wish than the one that failed stays.
            if let Some(release) = release
                && size(app, &release, service) == *to
            {
                // Where the manifest says so anyway, it stays the one that is followed.
                app.sizes.remove(service);
                if size(app, &release, service) != *from {
                    app.sizes.insert(service.clone(), *from);
                }
            }
            // What has begun may have started processes: they leave in order.
            if app.resizes.contains_key(service) {
                begin_resize(app, service, *to, *from, at, now);
            }
        }
        Transition::RenewalBegun { slot, life, .. } => {
            super::renewal::begin(app, slot, life, RenewalCause::NotAlive, at, now);
        }
        Transition::RenewalAdvanced { slot, stage } => {
            if let Some(renewal) = app.renewals.get_mut(slot) {
                (renewal.stage, renewal.since, renewal.entered) = (*stage, at, now);
            }
        }
        Transition::Renewed { slot } | Transition::RenewalFailed { slot, .. } => {
            app.renewals.remove(slot);
        }
        Transition::PostdeployBegan { promotion } => {
            super::postdeploy::began(app, *promotion, at, now);
        }
        Transition::PostdeployEnded { promotion, .. } => {
            super::postdeploy::ended(app, *promotion, at, now);
        }
        Transition::Stopped => app.standing = Standing::Stopped,
        Transition::Deleted => {}
    }
    super::renewal::forget(app);
    forget_releases(app);
}

/// Begins a resize of what serves; a shrinking changes the route.
pub(super) fn begin_resize(
    app: &mut App,
    name: &ServiceName,
    from: u16,
    to: u16,
    at: Version,
    now: Timestamp,
) {
    let Some(workload) = serving(app, name).cloned() else {
        return;
    };
    let stage = super::resize::first_stage(app, &workload, from, to);
    app.resizes.insert(
        name.clone(),
        Resize {
            from,
            to,
            stage,
            since: at,
            entered: now,
        },
    );
    app.routes_since = at;
    super::renewal::forget(app);
}

fn enter(app: &mut App, phase: &Phase, at: Version, now: Timestamp) {
    let left = app
        .promotion
        .as_ref()
        .map(|promotion| promotion.phase.clone());
    if let (Phase::RollingBack { step, .. }, Some(left)) = (phase, &left)
        && !matches!(left, Phase::RollingBack { .. })
    {
        turn_back(app, *step, left, at, now);
    }
    if changes_routes(phase) {
        app.routes_since = at;
    }
    if let Some(promotion) = &mut app.promotion {
        (promotion.phase, promotion.since, promotion.entered) = (phase.clone(), at, now);
    }
    if *phase == Phase::Replacing(ReplaceStep::Stopping) {
        forget_replaced(app);
    }
    for name in withdrawn(app) {
        app.resizes.remove(&name);
    }
}

/// Whether entering a phase may change where traffic goes.
fn changes_routes(phase: &Phase) -> bool {
    match phase {
        Phase::Preparing | Phase::Starting | Phase::Draining => false,
        Phase::Replacing(step) => *step == ReplaceStep::Draining,
        Phase::Shifting => true,
        Phase::RollingBack { step, .. } => *step != BackStep::Removing,
    }
}

/// Old workloads that had been stopped come up again under new names; the attempt's own that may have requests drain.
fn turn_back(app: &mut App, step: BackStep, left: &Phase, at: Version, now: Timestamp) {
    let stopped = withdrawn(app);
    if step == BackStep::Restoring
        && let Some(mut serving) = app.serving.take()
    {
        for name in &stopped {
            serving
                .slots
                .insert(name.clone(), size(app, &serving.release, name));
            if let Some(workload) = serving.workloads.get_mut(name) {
                workload.id.attempt = at;
            }
        }
        app.serving = Some(serving);
    }
    let Some(promotion) = app
        .promotion
        .as_ref()
        .filter(|_| matches!(left, Phase::Shifting | Phase::Draining))
    else {
        return;
    };
    let drains = |(name, workload, slots): (&ServiceName, Workload, u16)| {
        let goes =
            !serves(app, &workload.id) && routed(app, &workload) && !replaces(app, promotion, name);
        goes.then(|| {
            let limit =
                service_of(app, &workload).map_or(DRAIN_LIMIT, |service| service.drain_limit);
            let until = now + limit.min(DRAIN_LIMIT);
            (
                workload.id,
                Retiring {
                    release: workload.release,
                    limits: workload.limits,
                    slots,
                    since: at,
                    warm_until: now,
                    until,
                },
            )
        })
    };
    let draining: Vec<_> = targets(app, promotion).filter_map(drains).collect();
    app.retiring.extend(draining);
}

/// What must not run twice does not run beside a warm process of its service either.
fn forget_replaced(app: &mut App) {
    if let Some(promotion) = &app.promotion {
        let gone: Vec<_> = app
            .retiring
            .keys()
            .filter(|id| replaces(app, promotion, &id.service))
            .cloned()
            .collect();
        app.retiring.retain(|id, _| !gone.contains(id));
    }
}

fn end(app: &mut App, outcome: &Outcome) {
    if *outcome == Outcome::Succeeded {
        succeed(app);
    } else {
        take_back_limits(app);
        app.failed = matches!(outcome, Outcome::Failed(_)) && app.serving.is_none();
        let bare = app
            .serving
            .as_ref()
            .is_some_and(|serving| serving.workloads.is_empty());
        if bare && app.standing == Standing::Up {
            app.standing = Standing::Stopped;
        }
    }
    app.promotion = None;
}

/// New limits are tried by a restart. Where it failed, those that serve are wanted again, unless others were asked for since.
fn take_back_limits(app: &mut App) {
    let Some(promotion) = &app.promotion else {
        return;
    };
    if promotion.kind != PromotionKind::Restart {
        return;
    }
    let old = |(name, planned): (&ServiceName, &Planned)| {
        let Planned::Replace { limits, .. } = planned else {
            return None;
        };
        let wanted = app.limits.get(name).copied().unwrap_or_default();
        let before = serving(app, name)?.limits;
        (wanted == *limits && before != wanted).then(|| (name.clone(), before))
    };
    let old: Vec<_> = promotion.services.iter().filter_map(old).collect();
    for (name, limits) in old {
        super::scale::set_limits(app, name, limits);
    }
}

/// The target serves; what served before stays warm or, where nothing routes to it, is gone already.
fn succeed(app: &mut App) {
    let Some(promotion) = &app.promotion else {
        return;
    };
    let mut serving = Serving {
        release: promotion.target.clone(),
        promotion: promotion.number,
        workloads: BTreeMap::new(),
        slots: BTreeMap::new(),
    };
    for (name, workload, slots) in targets(app, promotion) {
        let now = app.serving.as_ref().filter(|_| serves(app, &workload.id));
        let slots = now
            .and_then(|serving| serving.slots.get(name).copied())
            .unwrap_or(slots);
        serving.slots.insert(name.clone(), slots);
        serving.workloads.insert(name.clone(), workload);
    }
    let stopped = withdrawn(app);
    let leaves = |(name, workload): (&ServiceName, &Workload)| {
        let stays = serving.workloads.get(name) == Some(workload);
        (!stays && !stopped.contains(name)).then(|| {
            let limit =
                service_of(app, workload).map_or(DRAIN_LIMIT, |service| service.drain_limit);
            let shrinking = app
                .resizes
                .get(name)
                .is_some_and(|resize| resize.stage == ResizeStage::Removing);
            let warm = if shrinking { Millis(0) } else { WARM_LIMIT };
            let retiring = Retiring {
                release: workload.release.clone(),
                limits: workload.limits,
                slots: held(app, name),
                since: app.routes_since,
                warm_until: promotion.entered + warm,
                until: promotion.entered + limit.max(warm),
            };
            (workload.id.clone(), retiring)
        })
    };
    let old = app.serving.iter().flat_map(|serving| &serving.workloads);
    let leaving: Vec<_> = old.filter_map(leaves).collect();
    let kept = |name: &ServiceName| {
        app.serving
            .as_ref()
            .is_some_and(|old| old.workloads.get(name) == serving.workloads.get(name))
    };
    let resizes: BTreeMap<_, _> = app
        .resizes
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, resize)| (name.clone(), resize.clone()))
        .collect();
    app.retiring.retain(|id, _| {
        serving
            .workloads
            .get(&id.service)
            .is_none_or(|workload| workload.id != *id)
    });
    app.retiring.extend(leaving);
    app.resizes = resizes;
    app.serving = Some(serving);
    app.failed = false;
}

/// Keeps only the releases that something names.
pub(super) fn forget_releases(app: &mut App) {
    let mut named = std::collections::BTreeSet::new();
    if let Some(serving) = &app.serving {
        named.insert(serving.release.clone());
        named.extend(
            serving
                .workloads
                .values()
                .map(|workload| workload.release.clone()),
        );
    }
    if let Some(promotion) = &app.promotion {
        named.insert(promotion.target.clone());
        named.extend(targets(app, promotion).map(|(_, workload, _)| workload.release));
    }
    named.extend(
        app.retiring
            .values()
            .map(|retiring| retiring.release.clone()),
    );
    named.extend(
        app.postdeploys
            .values()
            .map(|script| script.release.clone()),
    );
    app.releases.retain(|id, _| named.contains(id));
}
