//! Tells people what processes do: compares one look with the next and writes an event for each difference.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, SlotId, WorkloadId};
use hoist_core::model::{App, Exit, ExitCause, Limits, Planned, Probe, Process, ProcessState};
use hoist_engine::Seen;

use super::words::{event_source, slot_words};
use super::{Controller, Look};
use crate::clock::wall;
use crate::store::{Commit, Event, RackState, StateChange};

/// What was last told of each process.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower {
    slots: BTreeMap<SlotId, Told>,
    begun: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    process: Process,
    ready: bool,
}

impl Controller {
    /// Writes events of what changed since the last pass. What cannot be written is lost, and only words.
    pub(super) async fn follow(&self, state: &RackState, look: &Look, seen: &Seen) {
        let mut now = BTreeMap::new();
        let mut asked: Option<(AppName, BTreeMap<SlotId, Probe>)> = None;
        for (id, processes) in &seen.workloads {
            // Workloads of an app follow each other.
            let probes = match asked.take() {
                Some((app, probes)) if app == id.app => probes,
                _ => {
                    let found = self.prober.look(&id.app, &seen.workloads, look.fresh);
                    found.slots
                }
            };
            let (_, probes) = asked.insert((id.app.clone(), probes));
            for (slot, process) in processes {
                let slot = SlotId {
                    workload: id.clone(),
                    slot: *slot,
                };
                let running = process.state == ProcessState::Running;
                let ready = running && probes.get(&slot) == Some(&Probe::Ready);
                let process = process.clone();
                now.insert(slot, Told { process, ready });
            }
        }
        let before = {
            let mut own = self.lock();
            let follower = std::mem::replace(
                &mut own.follower,
                Follower {
                    slots: now.clone(),
                    begun: true,
                },
            );
            // The first look after a start finds what ran before: that is no news.
            if !follower.begun {
                return;
            }
            follower.slots
        };
        for (app, events) in self.differences(state, &before, &now) {
            let mut commit = Commit::new(&app, StateChange::None);
            commit.events = events;
            if let Err(error) = self.store.commit(commit, self.clock.now()).await {
                tracing::debug!(%app, %error, "events were lost");
            }
        }
    }

    fn differences(
        &self,
        state: &RackState,
        before: &BTreeMap<SlotId, Told>,
        now: &BTreeMap<SlotId, Told>,
    ) -> BTreeMap<hoist_core::id::AppName, Vec<Event>> {
        let engine = self.engine.capabilities().engine;
        let mut events: BTreeMap<_, Vec<Event>> = BTreeMap::new();
        let mut tell = |slot: &SlotId, kind: &str, text: String| {
            let name = &slot.workload.app;
            let Some(entry) = state.apps.get(name) else {
                return;
            };
            let promotion = entry
                .app
                .promotion
                .as_ref()
                .map(|promotion| promotion.number);
            events.entry(name.clone()).or_default().push(Event {
                id: 0,
                app: name.clone(),
                promotion,
                at: wall(),
                kind: kind.to_owned(),
                source: event_source(engine, &slot_words(slot)),
                text,
                actor: None,
            });
        };
        for (slot, told) in now {
            match before.get(slot) {
                None => tell_new(slot, told, &mut tell),
                Some(last) if last != told => tell_change(slot, last, told, &mut tell),
                Some(_) => {}
            }
        }
        for (slot, last) in before.iter().filter(|(slot, _)| !now.contains_key(slot)) {
            tell(
                slot,
                "process:gone",
                format!("process {} is gone", last.process.id),
            );
        }
        events
    }
}

fn tell_new(slot: &SlotId, told: &Told, tell: &mut impl FnMut(&SlotId, &str, String)) {
    let process = &told.process;
    let port = process
        .address
        .map(|address| format!(", PORT {}", address.port()));
    let text = format!("created process {}{}", process.id, port.unwrap_or_default());
    tell(slot, "process:create", text);
    match process.state {
        ProcessState::Running => tell(slot, "process:start", "started".to_owned()),
        ProcessState::Exited(exit) => tell(slot, "process:exit", exit_words(&exit)),
        ProcessState::Stopping => {}
    }
    if told.ready {
        tell(slot, "process:ready", "ready".to_owned());
    }
}

fn tell_change(
    slot: &SlotId,
    last: &Told,
    told: &Told,
    tell: &mut impl FnMut(&SlotId, &str, String),
) {
    let (before, now) = (&last.process, &told.process);
    if now.restarts > before.restarts
        && let Some(exit) = &now.last_exit
        && before.last_exit != now.last_exit
        && !matches!(before.state, ProcessState::Exited(_))
    {
        tell(slot, "process:exit", exit_words(exit));
    }
    match (&before.state, &now.state) {
        (ProcessState::Exited(old), ProcessState::Exited(new)) if old == new => {}
        // It was told to stop, and did: that it is gone says enough.
        (ProcessState::Stopping, ProcessState::Exited(_)) => {}
        (_, ProcessState::Exited(exit)) => tell(slot, "process:exit", exit_words(exit)),
        (_, ProcessState::Running) if now.restarts > before.restarts => {
            tell(
                slot,
                "process:restart",
                format!("started again (restart {})", now.restarts),
            );
        }
        (ProcessState::Exited(_), ProcessState::Running) => {
            tell(slot, "process:start", "started".to_owned());
        }
        (ProcessState::Running, ProcessState::Stopping) => {
            tell(slot, "process:stop", "told to stop".to_owned());
        }
        _ => {}
    }
    if told.ready && !last.ready {
        tell(slot, "process:ready", "ready".to_owned());
    }
    if last.ready && !told.ready && now.state == ProcessState::Running {
        tell(slot, "process:unready", "no longer ready".to_owned());
    }
}

/// How a process ended, for people.
pub fn exit_words(exit: &Exit) -> String {
    let by = match (exit.cause, exit.signal) {
        (ExitCause::OutOfMemory, _) => "was killed: out of memory".to_owned(),
        (ExitCause::ExecFailed, _) => "could not be executed".to_owned(),
        (ExitCause::Lost, _) => "was lost with its supervisor".to_owned(),
        (ExitCause::Own, Some(signal)) => format!("was ended by signal {signal}"),
        (ExitCause::Own, None) => return format!("exited with {}", exit.code),
    };
    format!("{by} ({})", exit.code)
}

/// The limits that an operator wanted of a workload when it was planned.
pub fn limits_of(app: &App, id: &WorkloadId) -> Limits {
    let planned = app.promotion.as_ref().and_then(|promotion| {
        let planned = promotion.services.get(&id.service)?;
        match planned {
            Planned::Replace { limits, .. } if promotion.number == id.attempt => Some(*limits),
            Planned::Keep { workload, .. } if workload.id == *id => Some(workload.limits),
            Planned::Replace { .. } | Planned::Keep { .. } => None,
        }
    });
    let retiring = || app.retiring.get(id).map(|retiring| retiring.limits);
    let serving = || {
        let workload = app.serving.as_ref()?.workloads.get(&id.service)?;
        (workload.id == *id).then_some(workload.limits)
    };
    planned
        .or_else(retiring)
        .or_else(serving)
        .unwrap_or_default()
}

/// The release that a workload of an app was started from, as far as the app still knows the workload.
pub fn release_of(app: &App, id: &WorkloadId) -> Option<ReleaseId> {
    if let Some(promotion) = &app.promotion {
        if promotion.number == id.attempt {
            return Some(promotion.target.clone());
        }
        if let Some(Planned::Keep { workload, .. }) = promotion.services.get(&id.service)
            && workload.id == *id
        {
            return Some(workload.release.clone());
        }
    }
    if let Some(retiring) = app.retiring.get(id) {
        return Some(retiring.release.clone());
    }
    let workload = app.serving.as_ref()?.workloads.get(&id.service)?;
    (workload.id == *id).then(|| workload.release.clone())
}
