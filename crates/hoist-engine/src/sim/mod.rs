//! An engine in memory: what processes do is a script (`script`), everything else is as the trait promises.
//!
//! For tests of what stands on an engine. Its processes listen on real loopback sockets and write real log files, so that
//! probes, routers and log readers need not know. [`SimEngine::reopen`] is a crash of the rack: the processes stay.

pub mod script;

mod actor;
mod player;
mod stage;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hoist_core::id::{ReleaseId, Slot, SlotId, WorkloadId};
use hoist_core::model::{ExitCause, Process, ProcessState, TaskStatus};
use tokio::sync::{Notify, watch};

use crate::{
    Beside, Capabilities, Engine, EngineError, ExecSpec, RestartPolicy, Seen, Session, Streams,
    TaskId, TaskSpec, WorkloadSpec,
};
use actor::Order;
use stage::{Attended, Voice};
use world::{Cell, Key, Start, Variables, World, beside, exit, refuse_nonsense};

/// An engine whose processes are scripts.
pub struct SimEngine {
    world: Arc<World>,
    capabilities: Capabilities,
}

impl Default for SimEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl SimEngine {
    /// An engine that holds nothing. Its methods need a tokio runtime.
    pub fn new() -> Self {
        let world = World {
            cells: Mutex::default(),
            hint: Arc::new(Notify::new()),
            number: AtomicU64::new(0),
            failures: AtomicU32::new(0),
        };
        Self::on(Arc::new(world))
    }

    fn on(world: Arc<World>) -> Self {
        let capabilities = Capabilities {
            engine: "sim",
            survives_rack_restart: true,
            isolation: Vec::new(),
        };
        Self {
            world,
            capabilities,
        }
    }

    /// The same engine for the next life of the rack.
    pub fn reopen(&self) -> Self {
        Self::on(Arc::clone(&self.world))
    }

    /// From now on, all processes of a release act out this script instead of their command.
    pub fn script(&self, release: &ReleaseId, script: impl Into<String>) {
        self.world
            .cells()
            .scripts
            .insert(release.clone(), script.into());
    }

    /// The next calls, so many of them, answer that the engine cannot be reached.
    pub fn fail_next(&self, calls: u32) {
        self.world.failures.store(calls, Ordering::SeqCst);
    }

    /// Kills what holds a process, and the process with it.
    pub fn lose(&self, slot: &SlotId) {
        let mut cells = self.world.cells();
        if let Some(cell) = cells.slots.get_mut(slot) {
            cell.actor.abort();
            cell.end(exit(128 + 9, Some(9), ExitCause::Lost));
        }
        drop(cells);
        self.world.changed();
    }

    /// Whether a process with this word in its command is still acting.
    pub fn acts(&self, word: &str) -> bool {
        let cells = self.world.cells();
        cells
            .slots
            .values()
            .any(|cell| !cell.is_over() && cell.argv.iter().any(|found| found == word))
    }

    /// Fails if a failure was asked for.
    fn reach(&self, doing: &str) -> Result<(), EngineError> {
        let take = |left: u32| left.checked_sub(1);
        match self
            .world
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
        {
            Ok(_) => Err(EngineError::Unavailable {
                doing: doing.to_owned(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            }),
            Err(_) => Ok(()),
        }
    }

    fn leave(cell: &mut Cell) {
        cell.process.state = match cell.process.state {
            ProcessState::Running => ProcessState::Stopping,
            state => state,
        };
        cell.orders.send_replace(Order::Stop);
    }

    /// Variables of a process that runs, and word of its end.
    fn running(&self, beside: &Beside) -> Result<(Variables, watch::Receiver<u32>), EngineError> {
        let cells = self.world.cells();
        let cell = match beside {
            Beside::Slot(slot) => cells.slots.get(slot),
            Beside::Task(task) => cells.tasks.get(task),
        };
        let running = |cell: &&Cell| !matches!(cell.process.state, ProcessState::Exited(_));
        let cell = cell.filter(running).ok_or(EngineError::NotFound)?;
        Ok((cell.variables.clone(), cell.ends.subscribe()))
    }
}

#[async_trait]
impl Engine for SimEngine {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn observe(&self) -> Result<Seen, EngineError> {
        self.reach("look at the processes")?;
        let cells = self.world.cells();
        let mut seen = Seen::default();
        for (id, cell) in &cells.slots {
            let slots: &mut BTreeMap<Slot, Process> =
                seen.workloads.entry(id.workload.clone()).or_default();
            slots.insert(id.slot, cell.process.clone());
        }
        for (id, cell) in &cells.tasks {
            let status = match cell.process.state {
                ProcessState::Exited(exit) => TaskStatus::Ended(exit),
                _ => TaskStatus::Running,
            };
            seen.tasks.insert(id.clone(), status);
            seen.task_processes
                .insert(id.clone(), cell.process.id.clone());
            seen.task_started.insert(id.clone(), cell.process.started);
        }
        Ok(seen)
    }

    async fn apply(&self, spec: &WorkloadSpec, slots: u16) -> Result<(), EngineError> {
        self.reach("hold a workload")?;
        let mut cells = self.world.cells();
        let above = cells
            .slots
            .iter_mut()
            .filter(|(id, _)| id.workload == spec.id && id.slot > slots);
        above.for_each(|(_, cell)| Self::leave(cell));
        cells
            .slots
            .retain(|id, cell| id.workload != spec.id || id.slot <= slots || !cell.is_over());
        for slot in 1..=slots {
            let id = SlotId {
                workload: spec.id.clone(),
                slot,
            };
            let lost = match cells.slots.get(&id) {
                None => None,
                Some(cell) => match cell.process.state {
                    ProcessState::Exited(exit)
                        if exit.cause == ExitCause::Lost
                            && cell.restart == RestartPolicy::Always =>
                    {
                        Some((cell.process.restarts + 1, exit))
                    }
                    _ => continue,
                },
            };
            let start = Start {
                key: Key::Slot(id.clone()),
                spec: spec.process.clone(),
                script: cells.scripts.get(&spec.release).cloned(),
                port: spec.port,
                restart: spec.restart,
                limit: None,
                restarts: lost.map_or(0, |(restarts, _)| restarts),
                last_exit: lost.map(|(_, exit)| exit),
                stage: None,
            };
            let cell = self.world.start(start)?;
            cells.slots.insert(id, cell);
        }
        drop(cells);
        self.world.changed();
        Ok(())
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.reach("stop a workload")?;
        let mut cells = self.world.cells();
        cells
            .slots
            .iter_mut()
            .filter(|(slot, _)| slot.workload == *id)
            .for_each(|(_, cell)| Self::leave(cell));
        // What ended already has nobody who would take it away.
        cells
            .slots
            .retain(|slot, cell| slot.workload != *id || !cell.is_over());
        drop(cells);
        self.world.changed();
        Ok(())
    }

    async fn run(&self, spec: &TaskSpec) -> Result<(), EngineError> {
        self.reach("start a task")?;
        self.world.start_task(spec, None).map(|_| ())
    }

    async fn run_attached(
        &self,
        spec: &TaskSpec,
        streams: Streams,
    ) -> Result<Session, EngineError> {
        self.reach("start a task")?;
        let (stage, audience) = stage::set(streams);
        match self.world.start_task(spec, Some(stage))? {
            Some(attended) => Ok(audience.session(attended)),
            None => Err(EngineError::Refused {
                doing: "attach".to_owned(),
                why: "it was started before".to_owned(),
            }),
        }
    }

    async fn exec(
        &self,
        beside: &Beside,
        spec: &ExecSpec,
        streams: Streams,
    ) -> Result<Session, EngineError> {
        self.reach("run a command beside it")?;
        refuse_nonsense(&spec.argv, &spec.env)?;
        let (mut variables, ends) = self.running(beside)?;
        let more = spec.env.iter();
        variables.extend(more.map(|(name, value)| (name.clone(), value.expose().to_owned())));
        let (stage, audience) = stage::set(streams);
        let player = self::beside(&spec.argv, variables, Voice::Stage(Box::new(stage)));
        let (orders, ordered) = watch::channel(Order::Run);
        let (end, ended) = watch::channel(None);
        // Ends with the process, or when the session is dropped.
        tokio::spawn(actor::beside(player, ends, ordered, end));
        Ok(audience.session(Attended { ended, orders }))
    }

    async fn restart_slot(&self, slot: &SlotId) -> Result<(), EngineError> {
        self.reach("restart a process")?;
        let mut cells = self.world.cells();
        let cell = cells.slots.get_mut(slot).ok_or(EngineError::NotFound)?;
        if cell.is_over() || *cell.orders.borrow() == Order::Stop {
            return Err(EngineError::NotFound);
        }
        if cell.process.state == ProcessState::Running {
            cell.process.state = ProcessState::Stopping;
        }
        cell.orders.send_replace(Order::Again);
        drop(cells);
        self.world.changed();
        Ok(())
    }

    async fn stop_task(&self, id: &TaskId) -> Result<(), EngineError> {
        self.reach("stop a task")?;
        if let Some(cell) = self.world.cells().tasks.get_mut(id) {
            cell.orders.send_replace(Order::Stop);
        }
        Ok(())
    }

    async fn forget_task(&self, id: &TaskId) -> Result<(), EngineError> {
        self.reach("forget a task")?;
        let mut cells = self.world.cells();
        match cells.tasks.get(id).map(|cell| cell.process.state) {
            Some(ProcessState::Exited(_)) | None => {
                cells.tasks.remove(id);
                Ok(())
            }
            Some(_) => {
                let (doing, why) = ("forget a task".to_owned(), "it still runs".to_owned());
                Err(EngineError::Refused { doing, why })
            }
        }
    }

    async fn check(
        &self,
        slot: &SlotId,
        argv: &[String],
        limit: Duration,
    ) -> Result<i32, EngineError> {
        self.reach("run a check")?;
        let (variables, ends) = self.running(&Beside::Slot(slot.clone()))?;
        let player = beside(argv, variables, Voice::Nobody);
        let code = actor::check(player, ends, limit).await;
        code.ok_or(EngineError::NotFound)
    }

    async fn listening(&self, slot: &SlotId) -> Result<Vec<u16>, EngineError> {
        self.reach("look at the sockets")?;
        let cells = self.world.cells();
        let cell = cells.slots.get(slot).ok_or(EngineError::NotFound)?;
        Ok(cell.listening.iter().copied().collect())
    }

    fn hints(&self) -> Arc<Notify> {
        Arc::clone(&self.world.hint)
    }
}
