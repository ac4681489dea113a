//! What a promotion in flight does with each service, and how far that is.

use hoist_api::types as wire;
use hoist_core::id::{ServiceName, SlotId, WorkloadId};
use hoist_core::model::{
    Observation, Planned, Probe, Process, ProcessState, Promotion, Strategy, Unready,
};
use hoist_core::plan::explain::{explain_exit, explain_unready};

use crate::store::AppEntry;

/// The services of a promotion, as far as the last look saw them.
pub(super) fn planned_services(
    entry: &AppEntry,
    promotion: &Promotion,
    seen: &Observation,
) -> Vec<wire::PlannedService> {
    let services = promotion.services.iter();
    services
        .map(|(name, planned)| planned_service(entry, promotion, name, planned, seen))
        .collect()
}

fn planned_service(
    entry: &AppEntry,
    promotion: &Promotion,
    name: &ServiceName,
    planned: &Planned,
    seen: &Observation,
) -> wire::PlannedService {
    let (plan, desired, workload) = match planned {
        Planned::Replace { slots, .. } => {
            let own = WorkloadId {
                app: entry.app.name.clone(),
                service: name.clone(),
                attempt: promotion.number,
            };
            (wire::Plan::Replace, *slots, own)
        }
        Planned::Keep { workload, slots } => (wire::Plan::Keep, *slots, workload.id.clone()),
    };
    let release = entry.app.releases.get(&promotion.target);
    let service = release.and_then(|release| release.services.get(name));
    let strategy = match service.map(|service| service.strategy) {
        Some(Strategy::Replace) => wire::Strategy::Replace,
        Some(Strategy::Surge) | None => wire::Strategy::Surge,
    };
    let probes = || {
        let all = seen.probes.slots.iter();
        all.filter(|(slot, _)| slot.workload == workload)
    };
    let ready = probes()
        .filter(|(_, probe)| **probe == Probe::Ready)
        .count();
    wire::PlannedService {
        name: name.to_string(),
        plan,
        strategy,
        desired,
        ready: u16::try_from(ready).unwrap_or(u16::MAX),
        problem: exited(&workload, seen)
            .or_else(|| probes().find_map(|(slot, probe)| wrong(slot, probe))),
    }
}

/// A process of the workload that ended though nobody told it to: `web.1 exited (exit 1), for the 2nd time`.
fn exited(workload: &WorkloadId, seen: &Observation) -> Option<String> {
    let slots = seen.engine.workloads.get(workload)?;
    let (slot, process) = slots.iter().find(|(_, process)| how(process).is_some())?;
    let service = &workload.service;
    let times = match how(process)? {
        (exit, 1) => format!("exited ({})", explain_exit(&exit)),
        (exit, times) => format!("exited {times} times ({})", explain_exit(&exit)),
    };
    Some(format!("{service}.{slot} {times}"))
}

/// How a process ended last, and how often it did.
fn how(process: &Process) -> Option<(hoist_core::model::Exit, u32)> {
    match process.state {
        ProcessState::Exited(exit) => Some((exit, process.restarts + 1)),
        ProcessState::Running => Some((process.last_exit?, process.restarts.max(1))),
        ProcessState::Stopping => None,
    }
}

/// What a probe found that waiting alone hardly mends.
fn wrong(slot: &SlotId, probe: &Probe) -> Option<String> {
    let found = match probe {
        Probe::Ready => return None,
        Probe::Hopeless(found) => found,
        Probe::Unready(
            found @ (Unready::ListensElsewhere { .. }
            | Unready::BadAnswer { .. }
            | Unready::CheckFailed { .. }),
        ) => found,
        // Every process begins like this.
        Probe::Unready(_) => return None,
    };
    let (service, slot) = (&slot.workload.service, slot.slot);
    Some(format!("{service}.{slot} {}", explain_unready(found)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hoist_core::model::{Exit, ExitCause, Timestamp};

    use super::*;

    fn workload() -> WorkloadId {
        WorkloadId {
            app: "hello".parse().expect("a name"),
            service: "web".parse().expect("a name"),
            attempt: "1.7".parse().expect("a number"),
        }
    }

    fn exit() -> Exit {
        Exit {
            code: 1,
            signal: None,
            cause: ExitCause::Own,
            at: Timestamp(0),
        }
    }

    fn process(state: ProcessState, restarts: u32, last_exit: Option<Exit>) -> Process {
        Process {
            id: "0a1b2c3d4e5f".parse().expect("an id"),
            address: None,
            state,
            restarts,
            last_exit,
            started: Timestamp(0),
        }
    }

    #[test]
    fn an_exit_is_told_with_how_often() {
        let told = |process: Process| {
            let mut seen = Observation::default();
            let slots = BTreeMap::from([(1, process)]);
            seen.engine.workloads.insert(workload(), slots);
            exited(&workload(), &seen)
        };
        assert_eq!(told(process(ProcessState::Running, 0, None)), None);
        assert_eq!(
            told(process(ProcessState::Exited(exit()), 0, None)).as_deref(),
            Some("web.1 exited (exit 1)")
        );
        assert_eq!(
            told(process(ProcessState::Running, 2, Some(exit()))).as_deref(),
            Some("web.1 exited 2 times (exit 1)")
        );
    }

    #[test]
    fn a_process_that_only_begins_is_no_problem() {
        let slot = SlotId {
            workload: workload(),
            slot: 1,
        };
        assert_eq!(wrong(&slot, &Probe::Unready(Unready::NotListening)), None);
        let elsewhere = Unready::ListensElsewhere {
            ports: vec![3000],
            wanted: 41873,
        };
        assert_eq!(
            wrong(&slot, &Probe::Unready(elsewhere)).as_deref(),
            Some("web.1 listens on 3000, not on $PORT (41873)")
        );
    }
}
