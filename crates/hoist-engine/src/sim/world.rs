//! What outlives a crash of the rack: the processes, and how one is started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hoist_core::id::{ProcessId, ReleaseId, SlotId};
use hoist_core::model::{Exit, ExitCause, Process, ProcessState, Timestamp};
use tokio::net::TcpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::actor::{Actor, Hold, Order};
use super::player::Player;
use super::stage::{Attended, Stage, Voice};
use crate::logfile::{self, LogFile};
use crate::{EngineError, ProcessSpec, RestartPolicy, Secret, TaskId, TaskSpec};

/// What a command beside a process gets from the signal to the kill.
const GRACE: Duration = Duration::from_secs(10);

/// What outlives a crash of the rack.
pub(super) struct World {
    pub(super) cells: Mutex<Cells>,
    pub(super) hint: Arc<Notify>,
    pub(super) number: AtomicU64,
    pub(super) failures: AtomicU32,
}

#[derive(Default)]
pub(super) struct Cells {
    pub(super) slots: BTreeMap<SlotId, Cell>,
    pub(super) tasks: BTreeMap<TaskId, Cell>,
    pub(super) scripts: BTreeMap<ReleaseId, String>,
}

/// One process and how it stands.
pub(super) struct Cell {
    pub(super) process: Process,
    pub(super) argv: Vec<String>,
    pub(super) restart: RestartPolicy,
    /// Where it listens, whatever it was told.
    pub(super) listening: BTreeSet<u16>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) orders: watch::Sender<Order>,
    /// How many of its lives are over.
    pub(super) ends: watch::Sender<u32>,
    /// How it ended for good.
    pub(super) ended: watch::Receiver<Option<Exit>>,
    pub(super) actor: AbortHandle,
}

impl Cell {
    /// A life of it is over.
    pub(super) fn end(&mut self, exit: Exit) {
        self.listening.clear();
        self.process.state = ProcessState::Exited(exit);
        self.ends.send_modify(|ends| *ends += 1);
    }

    /// Whether nobody acts any more.
    pub(super) fn is_over(&self) -> bool {
        let lost = matches!(self.process.state, ProcessState::Exited(exit) if exit.cause == ExitCause::Lost);
        lost || self.actor.is_finished()
    }
}

/// Names a cell.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    Slot(SlotId),
    Task(TaskId),
}

pub(super) type Variables = Vec<(String, String)>;

/// A player without a place in the engine.
pub(super) fn beside(argv: &[String], variables: Variables, voice: Voice) -> Player {
    Player {
        script: None,
        argv: argv.to_vec(),
        variables,
        voice,
        grace: GRACE,
        hold: None,
        socket: None,
        stubborn: false,
        servers: JoinSet::new(),
    }
}

impl World {
    pub(super) fn cells(&self) -> MutexGuard<'_, Cells> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) {
        self.hint.notify_one();
    }

    /// Changes a cell that is still the one it was.
    pub(super) fn with<T>(
        &self,
        key: &Key,
        id: &ProcessId,
        change: impl FnOnce(&mut Cell) -> T,
    ) -> Option<T> {
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
    pub(super) fn forget(&self, key: &Key, id: &ProcessId) {
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

    /// Starts a task, unless it ever was: then none.
    pub(super) fn start_task(
        self: &Arc<Self>,
        spec: &TaskSpec,
        stage: Option<Stage>,
    ) -> Result<Option<Attended>, EngineError> {
        let mut cells = self.cells();
        if cells.tasks.contains_key(&spec.id) {
            return Ok(None);
        }
        let cell = self.start(Start {
            key: Key::Task(spec.id.clone()),
            spec: spec.process.clone(),
            script: None,
            port: false,
            restart: RestartPolicy::Never,
            limit: Some(spec.limit),
            restarts: 0,
            last_exit: None,
            stage,
        })?;
        let attended = Attended {
            ended: cell.ended.clone(),
            orders: cell.orders.clone(),
        };
        cells.tasks.insert(spec.id.clone(), cell);
        drop(cells);
        self.changed();
        Ok(Some(attended))
    }

    /// Starts a process: an address that nothing listens on yet, and a task of the runtime that acts.
    pub(super) fn start(self: &Arc<Self>, start: Start) -> Result<Cell, EngineError> {
        let failed = |source| EngineError::Unavailable {
            doing: "start a process".to_owned(),
            source,
        };
        refuse_nonsense(&start.spec.argv, &start.spec.env)?;
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&number.to_be_bytes()[2..]);
        let id = match &start.key {
            Key::Task(TaskId::OneOff(_, id)) => id.clone(),
            _ => ProcessId::from_random(bytes),
        };
        let socket = if start.port {
            let socket = TcpSocket::new_v4().map_err(failed)?;
            socket.bind(([127, 0, 0, 1], 0).into()).map_err(failed)?;
            // Only now, so that nobody else is given the port; what the first life leaves must not keep the next from it.
            socket.set_reuseaddr(true).map_err(failed)?;
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
        let (orders, ordered) = watch::channel(Order::Run);
        let (end, ended) = watch::channel(None);
        let hold = Hold {
            world: Arc::clone(self),
            key: start.key,
            id: id.clone(),
        };
        let spec = start.spec;
        let voice = match start.stage {
            Some(stage) => Voice::Stage(Box::new(stage)),
            None => {
                let name = logfile::file_name(&spec.log_source, id.as_str());
                Voice::Log(LogFile::new(spec.log_dir.join(name), spec.log_bytes_max))
            }
        };
        let actor = Actor {
            player: Player {
                script: start.script,
                grace: spec.stop_grace,
                hold: Some(hold.clone()),
                socket,
                ..beside(&spec.argv, variables.clone(), voice)
            },
            hold,
            restart: start.restart,
            limit: start.limit,
            log_dir: spec.log_dir,
            orders: ordered,
            ended: end,
        };
        let actor = tokio::spawn(actor.live()).abort_handle();
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
            argv: spec.argv,
            restart: start.restart,
            listening: BTreeSet::new(),
            variables,
            orders,
            ends: watch::Sender::new(0),
            ended,
            actor,
        })
    }
}

/// What is to be started.
pub(super) struct Start {
    pub(super) key: Key,
    pub(super) spec: ProcessSpec,
    pub(super) script: Option<String>,
    pub(super) port: bool,
    pub(super) restart: RestartPolicy,
    pub(super) limit: Option<Duration>,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<Exit>,
    /// The caller's streams, instead of the log.
    pub(super) stage: Option<Stage>,
}

pub(super) fn refuse_nonsense(
    argv: &[String],
    env: &[(String, Secret)],
) -> Result<(), EngineError> {
    let named = |(name, value): &(String, crate::Secret)| {
        !name.is_empty() && !name.contains(['=', '\0']) && !value.expose().contains('\0')
    };
    if !argv.is_empty() && env.iter().all(named) {
        return Ok(());
    }
    Err(EngineError::Refused {
        doing: "start a process".to_owned(),
        why: "its command or variables are not valid".to_owned(),
    })
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn exit(code: i32, signal: Option<i32>, cause: ExitCause) -> Exit {
    Exit {
        code,
        signal,
        cause,
        at: now(),
    }
}
