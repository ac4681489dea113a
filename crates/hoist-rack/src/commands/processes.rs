//! Processes as people see them: what the last look found, in the glossary's words.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ReleaseId, SlotId, WorkloadId};
use hoist_core::model::{App, Observation, Probe, Process, ProcessState, Timestamp};

use crate::error::RackError;
use crate::rack::Rack;
use crate::usage::Rate;

/// One process of an app.
#[derive(Debug, Clone)]
pub struct ProcessView {
    /// Which.
    pub slot: SlotId,
    /// As the engine reports it.
    pub process: Process,
    /// Its word: `starting ready unready draining warm stopping crashed exited`.
    pub status: &'static str,
    /// The release it was started from.
    pub release: Option<ReleaseId>,
    /// The command it runs.
    pub command: String,
    /// What it uses.
    pub usage: Rate,
    /// Its memory limit in bytes; 0 for none.
    pub memory_limit_bytes: u64,
}

impl Rack {
    /// All processes of an app, by service and slot, newest attempt first.
    pub async fn processes(&self, app: &AppName) -> Result<Vec<ProcessView>, RackError> {
        let entry = self.app(app)?;
        let seen = self.controller.last_seen(app);
        let processes: Vec<(SlotId, &Process)> = seen
            .engine
            .workloads
            .iter()
            .flat_map(|(workload, processes)| processes.iter().map(move |found| (workload, found)))
            .map(|(workload, (slot, process))| {
                let workload = workload.clone();
                (
                    SlotId {
                        workload,
                        slot: *slot,
                    },
                    process,
                )
            })
            .collect();
        let slots: Vec<&SlotId> = processes.iter().map(|(slot, _)| slot).collect();
        let usage = self.sampler.rates(&*self.engine, &slots).await;
        let mut views: Vec<_> = processes
            .into_iter()
            .map(|(slot, process)| self.view(&entry.app, &seen, slot, process, &usage))
            .collect();
        views.sort_by(|a, b| {
            let key = |view: &ProcessView| {
                let attempt = std::cmp::Reverse(view.slot.workload.attempt);
                (view.slot.workload.service.clone(), attempt, view.slot.slot)
            };
            key(a).cmp(&key(b))
        });
        Ok(views)
    }

    fn view(
        &self,
        app: &App,
        seen: &Observation,
        slot: SlotId,
        process: &Process,
        usage: &BTreeMap<SlotId, Rate>,
    ) -> ProcessView {
        let release = crate::control::release_of(app, &slot.workload);
        let detail = release.as_ref().and_then(|id| self.releases.known(id));
        let service = detail
            .as_ref()
            .and_then(|detail| detail.manifest.service(&slot.workload.service));
        let command = service.and_then(|service| service.command.as_ref());
        ProcessView {
            status: status(app, seen, &slot, process),
            process: process.clone(),
            release,
            command: command.map(ToString::to_string).unwrap_or_default(),
            usage: usage.get(&slot).copied().unwrap_or_default(),
            memory_limit_bytes: service.map_or(0, |service| service.memory_bytes),
            slot,
        }
    }
}

/// One word for how a process stands.
fn status(app: &App, seen: &Observation, slot: &SlotId, process: &Process) -> &'static str {
    match process.state {
        ProcessState::Stopping => return "stopping",
        ProcessState::Exited(exit) if exit.code == 0 => return "exited",
        ProcessState::Exited(_) => return "crashed",
        ProcessState::Running => {}
    }
    if let Some(kind) = on_its_way_out(app, &slot.workload) {
        return kind;
    }
    match seen.probes.slots.get(slot) {
        Some(Probe::Ready) => "ready",
        _ if fresh(app, process) => "starting",
        Some(Probe::Unready(_) | Probe::Hopeless(_)) => "unready",
        None => "starting",
    }
}

fn on_its_way_out(app: &App, id: &WorkloadId) -> Option<&'static str> {
    let retiring = app.retiring.get(id)?;
    let now = crate::clock::wall();
    let warm = now < Timestamp(retiring.warm_until.0);
    Some(if warm { "warm" } else { "draining" })
}

/// Whether the process may still be coming up: it belongs to a promotion that has not switched, or just started.
fn fresh(app: &App, process: &Process) -> bool {
    app.promotion.is_some()
        || crate::clock::wall().since(process.started) < hoist_core::limits::READY_AFTER
}
