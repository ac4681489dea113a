//! What is tried again: what the control loop could not carry out, and processes that ended or no longer live.

use hoist_api::types::{DoctorItem, DoctorSection, Health};
use hoist_core::id::SlotId;
use hoist_core::limits;
use hoist_core::model::{ProcessState, Standing, Timestamp};
use hoist_core::plan;

use super::{count, item, ok, section, span, times};
use crate::control::{Failing, LoopState, exit_words};
use crate::rack::Rack;
use crate::store::RackState;

/// Every retry with its next time and its last error.
pub(super) fn examine(rack: &Rack, state: &LoopState) -> DoctorSection {
    let now = rack.clock.now();
    let apps = rack.store.snapshot();
    let mut items: Vec<_> = state
        .failing
        .iter()
        .map(|(what, failing)| {
            let again = state.tried_again(failing);
            item(what, Health::Bad, failing_words(failing, again, now))
        })
        .collect();
    items.extend(ended(state, &apps, crate::clock::wall()));
    items.extend(revived(&apps, now));
    if items.is_empty() {
        items.push(ok("actions", "nothing has to be tried again"));
    }
    section("retries", items)
}

fn failing_words(failing: &Failing, again: Timestamp, now: Timestamp) -> String {
    format!(
        "failed {} since {} ago, the last {} ago, again within {}: {}",
        times(failing.times),
        span(now.since(failing.since)),
        span(now.since(failing.last)),
        span(again.since(now)),
        failing.why
    )
}

/// Processes that ended and are started again by their supervisors. Exits are told in wall time.
fn ended(state: &LoopState, apps: &RackState, wall: Timestamp) -> Vec<DoctorItem> {
    let mut items = Vec::new();
    for (id, processes) in &state.seen.workloads {
        let entry = apps.apps.get(&id.app);
        if !entry.is_some_and(|entry| entry.app.standing == Standing::Up) {
            continue;
        }
        for (slot, process) in processes {
            let ProcessState::Exited(exit) = process.state else {
                continue;
            };
            let again = exit.at + limits::RESTART_SLOWEST;
            let slot = SlotId {
                workload: id.clone(),
                slot: *slot,
            };
            let detail = format!(
                "{} {} ago after {}, again within {}",
                exit_words(&exit),
                span(wall.since(exit.at)),
                count(u64::from(process.restarts), "restart", "restarts"),
                span(again.since(wall))
            );
            items.push(item(name(&slot), Health::Warn, detail));
        }
    }
    items
}

/// Processes that were started again because they no longer lived, and when that may happen to them once more.
fn revived(apps: &RackState, now: Timestamp) -> Vec<DoctorItem> {
    let mut items = Vec::new();
    let apps = apps.apps.values().map(|entry| &entry.app);
    for (slot, revived) in apps.flat_map(|app| &app.revived) {
        let ago = now.since(revived.at);
        if ago >= limits::REVIVAL_FORGOTTEN {
            continue;
        }
        let again = plan::may_revive(revived);
        let detail = format!(
            "no longer lived {}, the last {} ago; {}",
            times(revived.times),
            span(ago),
            match again > now {
                true => format!(
                    "if it does not, started again in {}",
                    span(again.since(now))
                ),
                false => "if it does not, started again at once".to_owned(),
            }
        );
        items.push(item(name(slot), Health::Warn, detail));
    }
    items
}

fn name(slot: &SlotId) -> String {
    let workload = &slot.workload;
    format!("{} {}.{}", workload.app, workload.service, slot.slot)
}
