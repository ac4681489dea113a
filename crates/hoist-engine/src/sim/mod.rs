//! An engine in memory: what processes do is a script (`script`), everything else is as the trait promises.
//!
//! For tests of what stands on an engine. Its processes listen on real loopback sockets and write real log files, so that
//! probes, routers and log readers need not know. [`SimEngine::reopen`] is a crash of the rack: the processes stay.

pub mod script;

mod actor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hoist_core::id::{ProcessId, ReleaseId, Slot, SlotId, WorkloadId};
use hoist_core::model::{Exit, ExitCause, Process, ProcessState, TaskStatus, Timestamp};
use tokio::net::TcpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::{
    Capabilities, Engine, EngineError, ProcessSpec, RestartPolicy, Seen, TaskId, TaskSpec,
    WorkloadSpec,
};
use actor::{Actor, Life};

/// An engine whose processes are scripts.
pub struct SimEngine {
    world: Arc<World>,
    capabilities: Capabilities,
}

/// What outlives a crash of the rack.
struct World {
    cells: Mutex<Cells>,
    hint: Arc<Notify>,
    number: AtomicU64,
    failures: AtomicU32,
}

#[derive(Default)]
struct Cells {
    slots: BTreeMap<SlotId, Cell>,
    tasks: BTreeMap<TaskId, Cell>,
    scripts: BTreeMap<ReleaseId, String>,
}

/// One process and how it stands.
struct Cell {
    process: Process,
    argv: Vec<String>,
    restart: RestartPolicy,
    /// Where it listens, whatever it was told.
    listening: BTreeSet<u16>,
    variables: Vec<(String, String)>,
    /// True once it is to stop for good.
    stop: watch::Sender<bool>,
    actor: AbortHandle,
}

impl Cell {
    /// Whether nobody acts any more.
    fn is_over(&self) -> bool {
        let lost = matches!(self.process.state, ProcessState::Exited(exit) if exit.cause == ExitCause::Lost);
        lost || self.actor.is_finished()
    }
}

/// Names a cell.
#[derive(Clone, PartialEq, Eq)]
enum Key {
    Slot(SlotId),
    Task(TaskId),
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
            cell.listening.clear();
            cell.process.state = ProcessState::Exited(exit(128 + 9, Some(9), ExitCause::Lost));
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
        let _ = cell.stop.send(true);
    }
}

impl World {
    fn cells(&self) -> MutexGuard<'_, Cells> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.hint.notify_one();
    }

    /// Changes a cell that is still the one it was.
    fn with<T>(&self, key: &Key, id: &ProcessId, change: impl FnOnce(&mut Cell) -> T) -> Option<T> {
        let mut cells = self.cells();
        let cell = match key {
            Key::Slot(slot) => cells.slots.get_mut(slot),
            Key::Task(task) => cells.tasks.get_mut(task),
        };
        let changed = cell.filter(|cell| cell.process.id == *id).map(change);
        drop(cells);
        self.changed();
        changed
    }

    /// Forgets a slot that was told to stop and has.
    fn forget(&self, key: &Key, id: &ProcessId) {
        let Key::Slot(slot) = key else { return };
        let mut cells = self.cells();
        if cells
            .slots
            .get(slot)
            .is_some_and(|cell| cell.process.id == *id)
        {
            cells.slots.remove(slot);
        }
        drop(cells);
        self.changed();
    }

    /// Starts a process: an address that nothing listens on yet, and a task of the runtime that acts.
    fn start(self: &Arc<Self>, start: Start) -> Result<Cell, EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: "start a process".to_owned(),
            source,
        };
        refuse_nonsense(&start.spec)?;
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&number.to_be_bytes()[2..]);
        let id = ProcessId::from_random(bytes);
        let socket = if start.port {
            let socket = TcpSocket::new_v4().map_err(failed)?;
            socket.bind(([127, 0, 0, 1], 0).into()).map_err(failed)?;
            Some(socket)
        } else {
            None
        };
        let address = socket
            .as_ref()
            .map(TcpSocket::local_addr)
            .transpose()
            .map_err(failed)?;
        let mut variables: Vec<(String, String)> = start
            .spec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect();
        if let Some(address) = address {
            variables.retain(|(name, _)| name != "PORT");
            variables.push(("PORT".to_owned(), address.port().to_string()));
        }
        let (stop, stopped) = watch::channel(false);
        let life = Life {
            world: Arc::clone(self),
            key: start.key,
            id: id.clone(),
            restart: start.restart,
            limit: start.limit,
            script: start.script,
            variables: variables.clone(),
            socket,
            stopped,
        };
        let actor = tokio::spawn(Actor::new(life, &start.spec).live()).abort_handle();
        let process = Process {
            id,
            address,
            state: ProcessState::Running,
            restarts: start.restarts,
            last_exit: start.last_exit,
            started: now(),
        };
        Ok(Cell {
            process,
            argv: start.spec.argv,
            restart: start.restart,
            listening: BTreeSet::new(),
            variables,
            stop,
            actor,
        })
    }
}

/// What is to be started.
struct Start {
    key: Key,
    spec: ProcessSpec,
    script: Option<String>,
    port: bool,
    restart: RestartPolicy,
    limit: Option<Duration>,
    restarts: u32,
    last_exit: Option<Exit>,
}

fn refuse_nonsense(spec: &ProcessSpec) -> Result<(), EngineError> {
    let named = |(name, value): &(String, crate::Secret)| {
        !name.is_empty() && !name.contains(['=', '\0']) && !value.expose().contains('\0')
    };
    if !spec.argv.is_empty() && spec.env.iter().all(named) {
        return Ok(());
    }
    Err(EngineError::Refused {
        doing: "start a process".to_owned(),
        why: "its command or variables are not valid".to_owned(),
    })
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn exit(code: i32, signal: Option<i32>, cause: ExitCause) -> Exit {
    Exit {
        code,
        signal,
        cause,
        at: now(),
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
        let mut cells = self.world.cells();
        if cells.tasks.contains_key(&spec.id) {
            return Ok(());
        }
        let cell = self.world.start(Start {
            key: Key::Task(spec.id.clone()),
            spec: spec.process.clone(),
            script: None,
            port: false,
            restart: RestartPolicy::Never,
            limit: Some(spec.limit),
            restarts: 0,
            last_exit: None,
        })?;
        cells.tasks.insert(spec.id.clone(), cell);
        drop(cells);
        self.world.changed();
        Ok(())
    }

    async fn stop_task(&self, id: &TaskId) -> Result<(), EngineError> {
        self.reach("stop a task")?;
        if let Some(cell) = self.world.cells().tasks.get_mut(id) {
            let _ = cell.stop.send(true);
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
        let variables = match self.world.cells().slots.get(slot) {
            Some(cell) if cell.process.state == ProcessState::Running => cell.variables.clone(),
            _ => return Err(EngineError::NotFound),
        };
        Ok(actor::check(argv, &variables, limit).await)
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
