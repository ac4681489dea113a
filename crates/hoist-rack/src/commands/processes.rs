//! Processes as people see them: what the last look found, in the glossary's words.

use std::collections::BTreeMap;

use hoist_core::id::{AppName, ProcessId, ReleaseId, SlotId, WorkloadId};
use hoist_core::limits::READY_AFTER;
use hoist_core::model::{App, Observation, Probe, Process, ProcessState, RenewalStage, Timestamp};
use hoist_core::plan;
use hoist_engine::{Beside, TaskId};

use super::Actor;
use crate::error::RackError;
use crate::rack::Rack;
use crate::store::OneOffRecord;
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
    /// The last time that it was stopped to be started again.
    pub renewal: Option<RenewalView>,
    /// What it uses.
    pub usage: Rate,
    /// Its memory limit in bytes; 0 for none.
    pub memory_limit_bytes: u64,
}

/// A process that somebody named.
#[derive(Debug)]
pub enum Found {
    /// One of a service.
    OfService(Box<ProcessView>),
    /// A one-off.
    OneOff(Box<OneOffView>),
}

/// A one-off that runs, as people see it.
#[derive(Debug, Clone)]
pub struct OneOffView {
    /// Its record.
    pub record: OneOffRecord,
    /// What it uses.
    pub usage: Rate,
}

/// A process was stopped to be started again in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalView {
    /// When that began, on the rack's clock.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it was not ready in the end.
    pub reason: Option<String>,
}

impl Rack {
    /// Stops a process. One of a service leaves the route, finishes its requests, and is started again in its slot: returns
    /// when that is recorded. A one-off is stopped for good.
    pub async fn stop_process(
        &self,
        app: &AppName,
        process: &str,
        actor: &Actor,
    ) -> Result<Found, RackError> {
        let view = match self.process(app, process).await? {
            Found::OneOff(view) => {
                self.stop_one_off(app, &view.record.id).await?;
                return Ok(Found::OneOff(view));
            }
            Found::OfService(view) => view,
        };
        let (slot, life) = (&view.slot, view.process.life());
        self.change(app, |after, at, now, commit| {
            plan::renew(after, slot, &life, at, now)?;
            let name = format!("{}.{}", slot.workload.service, slot.slot);
            let text = format!("stopping {} to start {name} again", life.process);
            let mut event = self.event(app, actor, "process:renew", text);
            event.promotion = after.promotion.as_ref().map(|promotion| promotion.number);
            commit.events.push(event);
            Ok(())
        })
        .await?;
        self.process(app, life.process.as_str()).await
    }

    /// One process by its id, or by as much of its beginning as names no other.
    pub async fn process(&self, app: &AppName, process: &str) -> Result<Found, RackError> {
        let views = self.processes(app).await?;
        let views = views.into_iter().map(|view| {
            let id = view.process.id.clone();
            (id, Found::OfService(Box::new(view)))
        });
        let one_offs = self.one_offs(app).await?.into_iter();
        let one_offs = one_offs.map(|view| (view.record.id.clone(), Found::OneOff(Box::new(view))));
        let begins = |(id, _): &(ProcessId, Found)| id.as_str().starts_with(process);
        let mut found: Vec<_> = views.chain(one_offs).filter(begins).collect();
        match (
            found.pop().filter(|_| !process.is_empty()),
            found.is_empty(),
        ) {
            (Some((_, found)), true) => Ok(found),
            (Some(_), false) => Err(RackError::AmbiguousProcess {
                app: app.clone(),
                process: process.to_owned(),
            }),
            (None, _) => Err(RackError::NoProcess {
                app: app.clone(),
                process: process.to_owned(),
            }),
        }
    }

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
        let measured = processes.iter().map(|(slot, _)| Beside::Slot(slot.clone()));
        let measured: Vec<_> = measured.collect();
        let usage = self.sampler.rates(&*self.engine, &measured).await;
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

    /// The one-offs of an app that run, oldest first.
    pub async fn one_offs(&self, app: &AppName) -> Result<Vec<OneOffView>, RackError> {
        self.app(app)?;
        let records = self.runs.of(app);
        let task = |record: &OneOffRecord| {
            Beside::Task(TaskId::OneOff(record.app.clone(), record.id.clone()))
        };
        let measured: Vec<_> = records.iter().map(task).collect();
        let usage = match measured.is_empty() {
            true => BTreeMap::new(),
            false => self.sampler.rates(&*self.engine, &measured).await,
        };
        let views = records.into_iter().map(|record| OneOffView {
            usage: usage.get(&task(&record)).copied().unwrap_or_default(),
            record,
        });
        Ok(views.collect())
    }

    fn view(
        &self,
        app: &App,
        seen: &Observation,
        slot: SlotId,
        process: &Process,
        usage: &BTreeMap<Beside, Rate>,
    ) -> ProcessView {
        let release = crate::control::release_of(app, &slot.workload);
        let detail = release.as_ref().and_then(|id| self.releases.known(id));
        let service = detail
            .as_ref()
            .and_then(|detail| detail.manifest.service(&slot.workload.service));
        let command = service.and_then(|service| service.command.as_ref());
        let limits = crate::control::limits_of(app, &slot.workload);
        ProcessView {
            status: status(app, seen, &slot, process, self.clock.now()),
            process: process.clone(),
            renewal: self.renewal(app, &slot),
            release,
            command: command.map(ToString::to_string).unwrap_or_default(),
            usage: usage
                .get(&Beside::Slot(slot.clone()))
                .copied()
                .unwrap_or_default(),
            memory_limit_bytes: limits
                .memory_bytes
                .or(service.map(|service| service.memory_bytes))
                .unwrap_or(0),
            slot,
        }
    }
}

impl Rack {
    fn renewal(&self, app: &App, slot: &SlotId) -> Option<RenewalView> {
        let under_way = app.renewals.get(slot).map(|renewal| RenewalView {
            began: renewal.entered,
            ended: None,
            reason: None,
        });
        under_way.or_else(|| {
            let ended = self.controller.last_renewal(slot)?;
            Some(RenewalView {
                began: ended.began,
                ended: Some(ended.ended),
                reason: ended.reason,
            })
        })
    }
}

/// One word for how a process stands.
fn status(
    app: &App,
    seen: &Observation,
    slot: &SlotId,
    process: &Process,
    now: Timestamp,
) -> &'static str {
    match process.state {
        ProcessState::Stopping => return "stopping",
        ProcessState::Exited(exit) if exit.code == 0 => return "exited",
        ProcessState::Exited(_) => return "crashed",
        ProcessState::Running => {}
    }
    if let Some(kind) = on_its_way_out(app, &slot.workload, now) {
        return kind;
    }
    match app.renewals.get(slot).map(|renewal| renewal.stage) {
        Some(RenewalStage::Unrouting | RenewalStage::Draining) => return "draining",
        Some(RenewalStage::Stopping) => return "stopping",
        Some(RenewalStage::Starting { .. }) => return "starting",
        None => {}
    }
    match seen.probes.slots.get(slot) {
        Some(Probe::Ready) if !awaits_route(app, seen, slot) => "ready",
        _ if fresh(app, process) => "starting",
        Some(_) => "unready",
        None => "starting",
    }
}

/// Whether requests cannot reach the process yet though it could take them: its service serves, and the router does not
/// run a table with it. A promotion's own processes get theirs with the switch.
pub(crate) fn awaits_route(app: &App, seen: &Observation, slot: &SlotId) -> bool {
    let Some(serving) = app.serving.as_ref().filter(|_| app.promotion.is_none()) else {
        return false;
    };
    let service = app
        .releases
        .get(&serving.release)
        .and_then(|release| release.services.get(&slot.workload.service));
    let serves = serving.workloads.get(&slot.workload.service);
    serves.is_some_and(|workload| workload.id == slot.workload)
        && service.is_some_and(|service| service.routed)
        && !seen.router.routed.contains(slot)
}

fn on_its_way_out(app: &App, id: &WorkloadId, now: Timestamp) -> Option<&'static str> {
    let retiring = app.retiring.get(id)?;
    let warm = now < retiring.warm_until;
    Some(if warm { "warm" } else { "draining" })
}

/// Whether the process may still be coming up: it belongs to a promotion that has not switched, or just started.
fn fresh(app: &App, process: &Process) -> bool {
    let now = crate::clock::wall();
    // The wall clock may have been set back since.
    let just = now >= process.started && now.since(process.started) < READY_AFTER;
    app.promotion.is_some() || just
}
