//! Looks at all state directories and says what is there. Also where the remains of the dead are cleared away.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hoist_core::id::{ProcessId, SlotId};
use hoist_core::model::{Exit, ExitCause, Process, ProcessState, TaskStatus, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::Cgroups;
use super::layout::{Layout, STATE, is_held, is_marked};
use super::proc;
use super::record::{self, Cause, ExitRecord, Phase, State};
use crate::logfile::now_ms;
use crate::{Seen, TaskId, Usage};

/// How long clearing away waits for killed processes to be gone.
const LEAVE: Duration = Duration::from_secs(1);

/// What a state directory turned out to be.
pub(super) enum Standing {
    /// Its shim lives.
    Held(State),
    /// It ended and nobody asked it to go.
    Left(State),
    /// Nothing of it runs, and nothing of it is to be kept.
    Gone,
}

/// Looks at everything.
pub(super) fn look(layout: &Layout) -> io::Result<Seen> {
    let mut seen = Seen {
        memory_free_bytes: proc::memory_free(),
        ..Seen::default()
    };
    for (id, dir) in layout.all_slots()? {
        let marked = is_marked(&dir);
        let process = match slot(layout, &dir, marked)? {
            Standing::Held(state) => as_process(&state, marked),
            Standing::Left(state) => as_process(&state, false),
            Standing::Gone => continue,
        };
        let Some(process) = process else { continue };
        seen.workloads
            .entry(id.workload)
            .or_default()
            .insert(id.slot, process);
    }
    for (id, dir) in layout.all_tasks()? {
        let (state, status) = match task(layout, &dir)? {
            // Until its shim has left it cannot be forgotten, so until then it has not ended.
            Standing::Held(state) => (state, TaskStatus::Running),
            Standing::Left(state) => match state.exit {
                Some(exit) => (state, TaskStatus::Ended(as_exit(exit))),
                None => continue,
            },
            Standing::Gone => continue,
        };
        let Ok(process) = state.process.parse() else {
            continue;
        };
        seen.tasks.insert(id.clone(), status);
        let started = Timestamp(state.started_ms);
        seen.task_started.insert(id.clone(), started);
        seen.task_processes.insert(id, process);
    }
    Ok(seen)
}

/// Looks at one slot and clears away what is to go.
pub(super) fn slot(layout: &Layout, dir: &Path, marked: bool) -> io::Result<Standing> {
    let Some((held, state)) = read(dir)? else {
        return Ok(Standing::Gone);
    };
    if held {
        return Ok(Standing::Held(state));
    }
    if marked || state.phase == Phase::Made {
        clear(&state);
        layout.discard(dir)?;
        return Ok(Standing::Gone);
    }
    Ok(Standing::Left(bury(dir, state)))
}

/// Looks at one task. One that was never executed is cleared away, unless it was told not to be.
pub(super) fn task(layout: &Layout, dir: &Path) -> io::Result<Standing> {
    let Some((held, state)) = read(dir)? else {
        return Ok(Standing::Gone);
    };
    if held {
        return Ok(Standing::Held(state));
    }
    if state.phase == Phase::Made && !is_marked(dir) {
        layout.discard(dir)?;
        return Ok(Standing::Gone);
    }
    Ok(Standing::Left(bury(dir, state)))
}

/// The lock first, then the state: in this order a process that ends in between shows as ended, never as lost.
fn read(dir: &Path) -> io::Result<Option<(bool, State)>> {
    let held = is_held(dir);
    match record::read(&dir.join(STATE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|state| Some((held, state))),
    }
}

/// How the process of a directory ended, once it has: `Some(None)` when even the record is gone. Clears nothing away.
pub(super) fn end_of(dir: &Path) -> io::Result<Option<Option<Exit>>> {
    Ok(match read(dir)? {
        None => Some(None),
        Some((
            _,
            State {
                phase: Phase::Ended,
                exit: Some(exit),
                ..
            },
        )) => Some(Some(as_exit(exit))),
        Some((true, _)) => None,
        Some((false, _)) => Some(Some(lost(now_ms()))),
    })
}

/// The end of a process whose supervisor died.
pub(super) fn lost(at_ms: u64) -> Exit {
    let signal = Signal::SIGKILL as i32;
    as_exit(ExitRecord {
        code: 128 + signal,
        signal: Some(signal),
        cause: Cause::Lost,
        at_ms,
    })
}

/// Records the end of a process whose shim left no record of it: it is lost.
fn bury(dir: &Path, mut state: State) -> State {
    if state.phase == Phase::Ended && state.exit.is_some() {
        return state;
    }
    clear(&state);
    let signal = Signal::SIGKILL as i32;
    state.exit = Some(ExitRecord {
        code: 128 + signal,
        signal: Some(signal),
        cause: Cause::Lost,
        at_ms: now_ms(),
    });
    state.phase = Phase::Ended;
    state.pid = None;
    state.shim = None;
    if let Err(error) = record::write(&dir.join(STATE), &state, false) {
        tracing::warn!(%error, dir = %dir.display(), "could not record that a process was lost");
    }
    state
}

/// Kills what a dead shim may have left and removes its cgroups.
fn clear(state: &State) {
    let cgroups = Cgroups::of(&state.controllers, &state.process);
    let mut left = cgroups.members();
    if !state.own_pids {
        left.extend(orphans(state));
    }
    for pid in left {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if cgroups.lists() {
        cgroups.remove(LEAVE);
    }
}

/// What remains of a process that had no namespace: its session, as long as the number cannot mean somebody else's.
fn orphans(state: &State) -> Vec<i32> {
    let Some(leader) = state.pid else {
        return Vec::new();
    };
    let reused = proc::started(leader).is_some_and(|started| state.pid_started != Some(started));
    if state.boot != record::boot() || reused {
        return Vec::new();
    }
    proc::in_session_of(leader)
}

fn as_process(state: &State, stopping: bool) -> Option<Process> {
    let exit = state.exit.map(as_exit);
    let process_state = match (state.phase, exit) {
        (Phase::Ended, Some(exit)) => ProcessState::Exited(exit),
        _ if stopping => ProcessState::Stopping,
        (Phase::Stopping, _) => ProcessState::Stopping,
        (Phase::Waiting, Some(exit)) => ProcessState::Exited(exit),
        _ => ProcessState::Running,
    };
    Some(Process {
        id: state.process.parse::<ProcessId>().ok()?,
        address: state
            .port
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        state: process_state,
        restarts: state.restarts,
        last_exit: state.last_exit.map(as_exit),
        started: Timestamp(state.started_ms),
    })
}

pub(super) fn as_exit(exit: ExitRecord) -> Exit {
    Exit {
        code: exit.code,
        signal: exit.signal,
        cause: match exit.cause {
            Cause::Own => ExitCause::Own,
            Cause::OutOfMemory => ExitCause::OutOfMemory,
            Cause::ExecFailed => ExitCause::ExecFailed,
            Cause::Lost => ExitCause::Lost,
        },
        at: Timestamp(exit.at_ms),
    }
}

/// Everything that a process is, as the machine counts.
pub(super) fn members(state: &State) -> Vec<i32> {
    let cgroups = Cgroups::of(&state.controllers, &state.process);
    match (state.pid, state.shim) {
        _ if cgroups.lists() => cgroups.members(),
        (Some(pid), _) if state.own_pids => proc::in_namespace_of(pid),
        (_, Some(shim)) if !state.own_pids => proc::descendants_of(shim),
        _ => Vec::new(),
    }
}

/// What each running process of a workload uses.
pub(super) fn usage(layout: &Layout) -> io::Result<BTreeMap<SlotId, Usage>> {
    measure(layout.all_slots()?)
}

/// What each running task uses.
pub(super) fn task_usage(layout: &Layout) -> io::Result<BTreeMap<TaskId, Usage>> {
    measure(layout.all_tasks()?)
}

fn measure<Id: Ord>(dirs: Vec<(Id, PathBuf)>) -> io::Result<BTreeMap<Id, Usage>> {
    let mut all = BTreeMap::new();
    for (id, dir) in dirs {
        if let Some((true, state)) = read(&dir)? {
            all.insert(id, usage_of(&state));
        }
    }
    Ok(all)
}

fn usage_of(state: &State) -> Usage {
    let cgroups = Cgroups::of(&state.controllers, &state.process);
    match (cgroups.cpu_nanos(), cgroups.memory_bytes()) {
        (Some(cpu_nanos), Some(memory_bytes)) => Usage {
            cpu_nanos,
            memory_bytes,
        },
        (cpu, memory) => {
            let (cpu_nanos, memory_bytes) = proc::usage(&members(state));
            Usage {
                cpu_nanos: cpu.unwrap_or(cpu_nanos),
                memory_bytes: memory.unwrap_or(memory_bytes),
            }
        }
    }
}
