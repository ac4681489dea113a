//! Where traffic goes.

use std::collections::BTreeMap;

use crate::id::{ServiceName, Slot, SlotId};
use crate::model::{
    App, BackStep, Endpoint, Observation, Phase, Planned, Promotion, Release, ReplaceStep,
    ResizeStage, RouteTarget, Standing, Workload,
};

use super::gate::{Health, health};
use super::shape::{held, replaces, restoring, routed, serves, targets};

/// Where requests of each routed service go. A service that is not listed has no route.
pub fn route(app: &App, seen: &Observation) -> BTreeMap<ServiceName, RouteTarget> {
    let active = app
        .serving
        .as_ref()
        .and_then(|serving| app.releases.get(&serving.release));
    match app.standing {
        Standing::Deleting { .. } => return BTreeMap::new(),
        Standing::Stopping { .. } | Standing::Stopped => {
            let stopped = |name: &ServiceName| (name.clone(), RouteTarget::Stopped);
            return active
                .into_iter()
                .flat_map(routed_names)
                .map(stopped)
                .collect();
        }
        Standing::Up => {}
    }
    if let Some(promotion) = &app.promotion
        && matches!(promotion.phase, Phase::Shifting | Phase::Draining)
    {
        return to_target(app, promotion, seen);
    }
    let mut routes = to_serving(app, active, seen);
    if let Some(promotion) = &app.promotion {
        hold(app, promotion, &mut routes);
    }
    routes
}

fn routed_names(release: &Release) -> impl Iterator<Item = &ServiceName> {
    release
        .services
        .iter()
        .filter(|(_, service)| service.routed)
        .map(|(name, _)| name)
}

/// The route to what a promotion wants live.
fn to_target(
    app: &App,
    promotion: &Promotion,
    seen: &Observation,
) -> BTreeMap<ServiceName, RouteTarget> {
    let routes = targets(app, promotion).filter(|(_, workload, _)| routed(app, workload));
    let point = |(name, workload, slots): (&ServiceName, Workload, u16)| {
        let target = match serves(app, &workload.id) {
            true => serving_processes(app, &workload, seen),
            false => RouteTarget::Processes(processes(&workload, 1..=slots, true, seen)),
        };
        (name.clone(), target)
    };
    routes.map(point).collect()
}

/// The route to what serves; services of the active release without a workload have no process.
fn to_serving(
    app: &App,
    active: Option<&Release>,
    seen: &Observation,
) -> BTreeMap<ServiceName, RouteTarget> {
    let none = |name: &ServiceName| (name.clone(), RouteTarget::Processes(Vec::new()));
    let mut routes: BTreeMap<_, _> = active
        .into_iter()
        .flat_map(routed_names)
        .map(none)
        .collect();
    let workloads = app.serving.iter().flat_map(|serving| &serving.workloads);
    for (name, workload) in workloads.filter(|(_, workload)| routed(app, workload)) {
        routes.insert(name.clone(), serving_processes(app, workload, seen));
    }
    routes
}

/// Holds requests of services whose old processes stop before others start.
fn hold(app: &App, promotion: &Promotion, routes: &mut BTreeMap<ServiceName, RouteTarget>) {
    let held = |name: &ServiceName| match promotion.phase {
        Phase::Replacing(ReplaceStep::Draining | ReplaceStep::Stopping | ReplaceStep::Starting) => {
            replaces(app, promotion, name)
        }
        Phase::RollingBack {
            step: BackStep::Restoring,
            ..
        } => super::shape::serving(app, name).is_some_and(|workload| restoring(app, workload)),
        Phase::Preparing
        | Phase::Starting
        | Phase::Shifting
        | Phase::Draining
        | Phase::RollingBack { .. } => false,
    };
    let target = app.releases.get(&promotion.target);
    let new = target
        .into_iter()
        .flat_map(routed_names)
        .filter(|name| matches!(promotion.services.get(*name), Some(Planned::Replace { .. })));
    let names: Vec<_> = routes
        .keys()
        .chain(new)
        .filter(|name| held(name))
        .cloned()
        .collect();
    routes.extend(names.into_iter().map(|name| (name, RouteTarget::Held)));
}

/// Processes of a serving workload, without those that a shrinking takes, with those of a growth that are ready.
fn serving_processes(app: &App, workload: &Workload, seen: &Observation) -> RouteTarget {
    let name = &workload.id.service;
    let (proven, growing) = match app.resizes.get(name) {
        None => (held(app, name), 0),
        Some(resize) if resize.stage == ResizeStage::Growing => (resize.from, resize.to),
        Some(resize) => (resize.to.min(resize.from), 0),
    };
    let mut endpoints = processes(workload, 1..=proven, true, seen);
    endpoints.extend(processes(workload, proven + 1..=growing, false, seen));
    // What is started again takes nothing new, and where nobody else can, requests wait for it.
    endpoints.retain(|endpoint| !app.renewals.contains_key(&endpoint.slot));
    let renewed = app.renewals.keys().any(|slot| slot.workload == workload.id);
    match endpoints.is_empty() && renewed {
        true => RouteTarget::Held,
        false => RouteTarget::Processes(endpoints),
    }
}

/// Slots that can take requests. Of a workload that passed the gate, one without a verdict can (`proven`): a rack that
/// has just started must not empty the table before its first probe.
fn processes(
    workload: &Workload,
    slots: std::ops::RangeInclusive<Slot>,
    proven: bool,
    seen: &Observation,
) -> Vec<Endpoint> {
    let Some(running) = seen.engine.workloads.get(&workload.id) else {
        return Vec::new();
    };
    let endpoint = |(number, process): (&Slot, &crate::model::Process)| {
        let slot = SlotId {
            workload: workload.id.clone(),
            slot: *number,
        };
        let able = match health(seen, &slot) {
            Health::Ready => true,
            Health::Unknown => proven,
            Health::Unready(_) | Health::Down => false,
        };
        let address = process.address.filter(|_| able)?;
        Some(Endpoint { slot, address })
    };
    let listed = running.iter().filter(|(number, _)| slots.contains(number));
    listed.filter_map(endpoint).collect()
}
