//! What is due: the actions that take reality towards an app's state. Empty at rest.
//!
//! The one rule to know: nothing is taken away before the router runs a table that is newer than the decision to let go
//! of it and that does not name it. Whatever is not wanted and may not go yet is left alone.

use std::collections::BTreeMap;

use crate::id::{Slot, SlotId, WorkloadId};
use crate::model::{
    App, BackStep, ExitCause, Observation, Phase, Process, ProcessState, Promotion, ReplaceStep,
    Strategy, TaskStatus, Workload,
};

use super::Action;
use super::gate::stale;
use super::renewal::must_stop;
use super::shape::{
    held, held_by_engine, others, replaces, restoring, service_of, serving, targets, withdrawn,
};
use super::waiting::Part;

/// The actions that take reality towards `app`.
pub fn converge(app: &App, seen: &Observation) -> Vec<Action> {
    let wanted = wanted(app);
    let mut actions = Vec::new();
    if let Some(promotion) = &app.promotion {
        actions.extend(release_command(app, promotion, seen));
    }
    actions.extend(super::postdeploy::converge(app, seen));
    let due = wanted
        .values()
        .filter(|(workload, _)| !waits_for_place(app, workload, seen));
    for (workload, slots) in due {
        actions.extend(hold(app, workload, *slots, seen));
    }
    let restarts = app.renewals.iter();
    let restarts = restarts.filter(|(slot, renewal)| must_stop(slot, renewal, seen));
    actions.extend(restarts.map(|(slot, renewal)| Action::Restart {
        slot: slot.clone(),
        life: renewal.life.clone(),
    }));
    // A workload of an attempt that is newer than this state is none of this state's business.
    let unwanted = held_by_engine(app, seen)
        .filter(|id| !wanted.contains_key(id) && !app.retiring.contains_key(id))
        .filter(|id| id.attempt <= app.generation);
    for id in unwanted.filter(|id| let_go(app, id, 0, seen)) {
        actions.push(Action::Remove { id: id.clone() });
    }
    actions
}

/// What belongs to no app: workloads go once no route names them, release commands and postdeploy scripts that no app knows
/// of stop.
pub fn strays<'a>(apps: impl IntoIterator<Item = &'a App>, seen: &Observation) -> Vec<Action> {
    let apps: BTreeMap<_, _> = apps.into_iter().map(|app| (&app.name, app)).collect();
    let named = |id: &WorkloadId| seen.router.routed.iter().any(|slot| slot.workload == *id);
    let looked = seen.router.look > Default::default();
    let unknown = seen
        .engine
        .workloads
        .keys()
        .filter(|id| !apps.contains_key(&id.app));
    let remove = unknown
        .filter(|id| looked && !named(id))
        .map(|id| Action::Remove { id: id.clone() });
    let in_flight = |number| {
        apps.values()
            .any(|app| app.promotion.as_ref().is_some_and(|p| p.number == number))
    };
    let due = |number| {
        apps.values()
            .any(|app| app.postdeploys.contains_key(number))
    };
    let newest = apps
        .values()
        .map(|app| app.generation)
        .max()
        .unwrap_or_default();
    let running = seen
        .engine
        .release_commands
        .iter()
        .filter(|(number, status)| {
            **status == TaskStatus::Running && !in_flight(**number) && **number <= newest
        });
    let stop = running.map(|(number, _)| Action::StopReleaseCommand { promotion: *number });
    let scripts = seen.engine.postdeploys.iter().filter(|(number, status)| {
        **status == TaskStatus::Running && !due(number) && **number <= newest
    });
    let scripts = scripts.map(|(number, _)| Action::StopPostdeploy { promotion: *number });
    remove.chain(stop).chain(scripts).collect()
}

fn release_command(app: &App, promotion: &Promotion, seen: &Observation) -> Option<Action> {
    let status = seen.engine.release_commands.get(&promotion.number);
    let number = promotion.number;
    match (&promotion.phase, status) {
        (Phase::Preparing, None)
            if promotion.cancel.is_none() && super::step::has_command(app, promotion) =>
        {
            let release = promotion.target.clone();
            Some(Action::RunReleaseCommand {
                promotion: number,
                release,
            })
        }
        (Phase::RollingBack { .. }, Some(TaskStatus::Running)) => {
            Some(Action::StopReleaseCommand { promotion: number })
        }
        _ => None,
    }
}

/// Workloads that must run, with their slots.
fn wanted(app: &App) -> BTreeMap<WorkloadId, (Workload, u16)> {
    let mut wanted = BTreeMap::new();
    if let Some(promotion) = &app.promotion {
        for (name, workload, slots) in targets(app, promotion) {
            let due = match promotion.phase {
                Phase::Preparing | Phase::RollingBack { .. } => {
                    serving(app, name) == Some(&workload)
                }
                Phase::Starting
                | Phase::Replacing(ReplaceStep::Draining | ReplaceStep::Stopping) => {
                    !replaces(app, promotion, name)
                }
                Phase::Replacing(ReplaceStep::Starting) | Phase::Shifting | Phase::Draining => true,
            };
            if due {
                wanted.insert(workload.id.clone(), (workload, slots));
            }
        }
    }
    let withdrawn = withdrawn(app);
    for (name, workload) in app.serving.iter().flat_map(|serving| &serving.workloads) {
        if !withdrawn.contains(name) {
            wanted.insert(workload.id.clone(), (workload.clone(), held(app, name)));
        }
    }
    wanted
}

/// What must not run twice comes up again only when the engine holds nothing else of its service. Until then nothing is
/// started; what runs of it already stays.
fn waits_for_place(app: &App, workload: &Workload, seen: &Observation) -> bool {
    let Some(promotion) = &app.promotion else {
        return false;
    };
    let back = matches!(
        promotion.phase,
        Phase::RollingBack {
            step: BackStep::Restoring,
            ..
        }
    );
    // The target may lack the service: then the old process is on its way out all the same.
    let own = service_of(app, workload);
    let alone = own.is_some_and(|service| service.strategy == Strategy::Replace)
        || replaces(app, promotion, &workload.id.service);
    back && alone
        && restoring(app, workload)
        && (!stale(seen, promotion.since, &[Part::Engine]).is_empty()
            || others(seen, &workload.id).next().is_some())
}

/// What makes the engine hold exactly slots 1..=`slots`, as far as it is safe.
fn hold(app: &App, workload: &Workload, slots: u16, seen: &Observation) -> Option<Action> {
    let none = BTreeMap::new();
    let present = seen.engine.workloads.get(&workload.id).unwrap_or(&none);
    let highest = present.keys().next_back().copied().unwrap_or(0);
    let missing = (1..=slots).any(|slot| present.get(&slot).is_none_or(lost));
    let slots = match highest > slots {
        true if let_go(app, &workload.id, slots, seen) => slots,
        true if missing => highest,
        true => return None,
        false if missing => slots,
        false => return None,
    };
    Some(Action::Apply {
        workload: workload.clone(),
        slots,
    })
}

/// Whether nobody starts a process again: its supervisor died, or the machine was rebooted.
fn lost(process: &Process) -> bool {
    matches!(process.state, ProcessState::Exited(exit) if exit.cause == ExitCause::Lost)
}

/// Whether the router runs a table that is newer than the app's last change of routes and names none of the workload's
/// slots above `above`.
fn let_go(app: &App, id: &WorkloadId, above: Slot, seen: &Observation) -> bool {
    let router = &seen.router;
    let names = |slot: &SlotId| slot.workload == *id && slot.slot > above;
    router.look > app.routes_since
        && router.version > app.routes_since
        && !router.routed.iter().any(names)
}
