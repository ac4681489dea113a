//! Who runs what: what the phases mean for workloads, in one place, for `step`, `converge`, `route` and `apply` alike.

use std::collections::BTreeSet;

use crate::id::{ServiceName, WorkloadId};
use crate::model::{
    App, BackStep, Limits, Observation, Phase, Planned, Promotion, ReplaceStep, Retiring, Service,
    Strategy, Workload,
};

/// A service as the release of a workload defines it.
pub(super) fn service_of<'a>(app: &'a App, workload: &Workload) -> Option<&'a Service> {
    app.releases
        .get(&workload.release)?
        .services
        .get(&workload.id.service)
}

/// Whether requests reach a workload.
pub(super) fn routed(app: &App, workload: &Workload) -> bool {
    service_of(app, workload).is_some_and(|service| service.routed)
}

/// The desired size of a service in a release.
pub(super) fn size(app: &App, release: &crate::id::ReleaseId, name: &ServiceName) -> u16 {
    let count = || {
        app.releases
            .get(release)?
            .services
            .get(name)
            .map(|service| service.count)
    };
    app.sizes.get(name).copied().or_else(count).unwrap_or(0)
}

/// What an operator wants of a service's limits.
pub(super) fn limits(app: &App, name: &ServiceName) -> Limits {
    app.limits.get(name).copied().unwrap_or_default()
}

/// The memory in bytes that one process of a workload may take; 0 when unlimited.
pub(super) fn memory_bytes(app: &App, workload: &Workload) -> u64 {
    let own = || service_of(app, workload).map(|service| service.memory_bytes);
    workload.limits.memory_bytes.or_else(own).unwrap_or(0)
}

/// A workload on its way out.
pub(super) fn retired(id: &WorkloadId, retiring: &Retiring) -> Workload {
    Workload {
        id: id.clone(),
        release: retiring.release.clone(),
        limits: retiring.limits,
    }
}

/// The workload that a promotion means for a service, and its slots.
pub(super) fn target(
    app: &App,
    promotion: &Promotion,
    name: &ServiceName,
) -> Option<(Workload, u16)> {
    Some(match promotion.services.get(name)? {
        Planned::Replace { slots, limits } => {
            let id = WorkloadId {
                app: app.name.clone(),
                service: name.clone(),
                attempt: promotion.number,
            };
            let release = promotion.target.clone();
            let limits = *limits;
            (
                Workload {
                    id,
                    release,
                    limits,
                },
                *slots,
            )
        }
        Planned::Keep { workload, slots } => (workload.clone(), *slots),
    })
}

/// All workloads that a promotion means, with their slots.
pub(super) fn targets<'a>(
    app: &'a App,
    promotion: &'a Promotion,
) -> impl Iterator<Item = (&'a ServiceName, Workload, u16)> {
    let each = |name| target(app, promotion, name).map(|(workload, slots)| (name, workload, slots));
    promotion.services.keys().filter_map(each)
}

/// Whether a workload serves, whatever a promotion means with it.
pub(super) fn serves(app: &App, id: &WorkloadId) -> bool {
    serving(app, &id.service).is_some_and(|workload| workload.id == *id)
}

/// Whether a promotion on its way forward keeps a workload that was on its way out.
pub(super) fn kept(app: &App, id: &WorkloadId) -> bool {
    let Some(promotion) = &app.promotion else {
        return false;
    };
    let forward = !matches!(promotion.phase, Phase::RollingBack { .. });
    let planned = promotion.services.get(&id.service);
    forward && matches!(planned, Some(Planned::Keep { workload, .. }) if workload.id == *id)
}

/// The workload that serves for a service.
pub(super) fn serving<'a>(app: &'a App, name: &ServiceName) -> Option<&'a Workload> {
    app.serving.as_ref()?.workloads.get(name)
}

/// Slots that a serving workload holds now: while it is resized, all of both sizes until the leaving ones may go.
pub(super) fn held(app: &App, name: &ServiceName) -> u16 {
    use crate::model::ResizeStage::Removing;
    let slots = || app.serving.as_ref()?.slots.get(name).copied();
    match app.resizes.get(name) {
        Some(resize) if resize.stage == Removing => resize.to,
        Some(resize) => resize.from.max(resize.to),
        None => slots().unwrap_or(0),
    }
}

/// Whether a promotion stops a service's old workload before it starts the new one.
pub(super) fn replaces(app: &App, promotion: &Promotion, name: &ServiceName) -> bool {
    if !matches!(promotion.services.get(name), Some(Planned::Replace { .. })) {
        return false;
    }
    let exclusive = |service: &Service| service.strategy == Strategy::Replace;
    let new = app
        .releases
        .get(&promotion.target)
        .and_then(|release| release.services.get(name));
    let old = serving(app, name).and_then(|workload| service_of(app, workload));
    new.is_some_and(exclusive) || old.is_some_and(exclusive)
}

/// Services whose serving workload is gone, or told to go, in the promotion's present phase.
pub(super) fn withdrawn(app: &App) -> BTreeSet<ServiceName> {
    let (Some(promotion), Some(serving)) = (&app.promotion, &app.serving) else {
        return BTreeSet::new();
    };
    let kept = |name: &ServiceName, workload: &Workload| {
        target(app, promotion, name).is_some_and(|(planned, _)| planned.id == workload.id)
    };
    let gone = |name: &ServiceName, workload: &Workload| match promotion.phase {
        Phase::Preparing | Phase::Starting | Phase::RollingBack { .. } => false,
        Phase::Replacing(ReplaceStep::Draining) => false,
        Phase::Replacing(_) | Phase::Shifting => replaces(app, promotion, name),
        Phase::Draining => replaces(app, promotion, name) || !routed(app, workload),
    };
    let leaving = serving
        .workloads
        .iter()
        .filter(|(name, workload)| !kept(name, workload) && gone(name, workload));
    leaving.map(|(name, _)| name.clone()).collect()
}

/// Whether the promotion goes back, and a serving workload was named anew to come up again in this very step.
pub(super) fn restoring(app: &App, workload: &Workload) -> bool {
    app.promotion.as_ref().is_some_and(|promotion| {
        let step = matches!(
            promotion.phase,
            Phase::RollingBack {
                step: BackStep::Restoring,
                ..
            }
        );
        step && workload.id.attempt == promotion.since
    })
}

/// Other workloads of the same service that the engine still holds.
pub(super) fn others<'a>(
    seen: &'a Observation,
    id: &'a WorkloadId,
) -> impl Iterator<Item = &'a WorkloadId> {
    let same = move |other: &&WorkloadId| {
        other.app == id.app && other.service == id.service && *other != id
    };
    seen.engine.workloads.keys().filter(same)
}

/// Workloads of an app that the engine still holds.
pub(super) fn held_by_engine<'a>(
    app: &'a App,
    seen: &'a Observation,
) -> impl Iterator<Item = &'a WorkloadId> {
    seen.engine.workloads.keys().filter(|id| id.app == app.name)
}
