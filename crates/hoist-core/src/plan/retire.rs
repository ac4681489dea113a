//! Workloads on their way out: warm for a while, then only until their requests ended. One that a promotion keeps stays
//! listed until that has succeeded, so that a way back finds it as it was.

use crate::id::{Slot, WorkloadId};
use crate::model::{App, Observation, Retiring, Timestamp};

use super::gate::stale;
use super::shape::kept;
use super::step::{in_flight, unacknowledged};
use super::waiting::{Part, Waiting};
use super::{Transition, Verdict};

/// Lets go of the first workload that has nothing more to do.
pub(super) fn step(app: &App, seen: &Observation, now: Timestamp) -> Verdict {
    let mut waiting = Vec::new();
    for (id, retiring) in app.retiring.iter().filter(|(id, _)| !kept(app, id)) {
        match outstanding(app, id, retiring, seen, now) {
            None => {
                return Verdict::Go(Transition::Retire {
                    workload: id.clone(),
                });
            }
            Some(more) => waiting.push(more),
        }
    }
    Verdict::Wait(waiting)
}

fn outstanding(
    app: &App,
    id: &WorkloadId,
    retiring: &Retiring,
    seen: &Observation,
    now: Timestamp,
) -> Option<Waiting> {
    let vanished = seen.engine.look > retiring.since && !seen.engine.workloads.contains_key(id);
    if vanished || now >= retiring.until {
        return None;
    }
    if now < retiring.warm_until {
        return Some(Waiting::Warm {
            workload: id.clone(),
            until: retiring.warm_until,
        });
    }
    if let Some(waiting) = unacknowledged(seen, retiring.since, Some(retiring.until)) {
        return Some(waiting);
    }
    let own = |workload: &WorkloadId, _: Slot| workload == id;
    match in_flight(app, seen, retiring.since, own) {
        Some(0) => stale(seen, retiring.since, &[Part::Router]).pop(),
        in_flight => Some(Waiting::Drain {
            in_flight,
            until: retiring.until,
        }),
    }
}
