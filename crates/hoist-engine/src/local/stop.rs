//! Stops processes for good: the marker in the directory is the decision, the rest is carrying it out.
//!
//! A rack that crashes in between finds the marker when it opens again and goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::client;
use super::layout::{Layout, STATE, is_held, mark};
use super::locked;
use super::observe;
use super::record::{self, State};
use super::shim::{Answer, Request};
use crate::EngineError;

/// How long a shim may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// What a shim gets beyond the grace of its process before it is killed itself.
const MARGIN: Duration = Duration::from_secs(5);
/// Pause between looks while waiting for an end.
const PAUSE: Duration = Duration::from_millis(10);

/// Sees stops through; the engine has one, and shares it with the sessions that it gives out.
#[derive(Clone)]
pub(super) struct Stops {
    pub(super) hints: Arc<Notify>,
    pub(super) runtime: Handle,
    /// Processes that somebody waits for already.
    pub(super) waited_for: Arc<Mutex<BTreeSet<String>>>,
}

impl Stops {
    /// Tells the shim of a marked directory to stop, and makes sure that it ends in time.
    pub(super) fn see_to(&self, dir: PathBuf) {
        let (hints, waited_for) = (Arc::clone(&self.hints), Arc::clone(&self.waited_for));
        // Owned by nobody on purpose: it ends with the process it waits for, and a rack that dies begins it again.
        self.runtime.spawn(async move {
            let told = dir.clone();
            let asked = tokio::task::spawn_blocking(move || tell(&told)).await;
            let Ok(Ok(Some(asked))) = asked else {
                return hints.notify_one();
            };
            if !locked(&waited_for).insert(asked.process.clone()) {
                return;
            }
            tokio::time::sleep(patience(asked.grace)).await;
            let process = asked.process.clone();
            let _ = tokio::task::spawn_blocking(move || force(&dir, &asked.process)).await;
            locked(&waited_for).remove(&process);
            hints.notify_one();
        });
    }
}

/// A process that was told to stop.
pub(super) struct Asked {
    pub(super) process: String,
    /// How long it may take.
    pub(super) grace: Duration,
}

/// Writes the decision down and tells the shim. None when nothing runs.
pub(super) fn ask(dir: &Path) -> io::Result<Option<Asked>> {
    mark(dir)?;
    tell(dir)
}

/// Tells the shim of a directory that is marked already. None when nothing runs.
pub(super) fn tell(dir: &Path) -> io::Result<Option<Asked>> {
    if !is_held(dir) {
        return Ok(None);
    }
    let state: State = match record::read(&dir.join(STATE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    // A shim that was launched a moment ago has no socket yet; it looks for the marker before it executes anything.
    let answer = client::ask(dir, &Request::Stop, ANSWER).or_else(|_| {
        std::thread::sleep(PAUSE);
        client::ask(dir, &Request::Stop, ANSWER)
    });
    if !matches!(answer, Ok(Answer::Accepted)) && is_held(dir) {
        tracing::warn!(dir = %dir.display(), "a supervisor does not answer; its process is told directly");
        for pid in observe::members(&state) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
    Ok(Some(Asked {
        process: state.process,
        grace: Duration::from_millis(state.grace_ms),
    }))
}

/// When a shim that was told must have left.
pub(super) fn patience(grace: Duration) -> Duration {
    grace + MARGIN
}

/// Kills a shim that outstayed its time, and with it its process, unless another one has taken its place.
pub(super) fn force(dir: &Path, process: &str) {
    let Ok(state) = record::read::<State>(&dir.join(STATE)) else {
        return;
    };
    if state.process != process {
        return;
    }
    let Some(shim) = state
        .shim
        .filter(|shim| is_held(dir) && works_in(*shim, dir))
    else {
        return;
    };
    tracing::warn!(dir = %dir.display(), "a supervisor outstayed its time and is killed");
    let members = observe::members(&state);
    let _ = kill(Pid::from_raw(shim), Signal::SIGKILL);
    for pid in members {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Whether this process really is the shim of that directory: numbers are reused.
fn works_in(pid: i32, dir: &Path) -> bool {
    match (
        fs::read_link(format!("/proc/{pid}/cwd")),
        fs::canonicalize(dir),
    ) {
        (Ok(cwd), Ok(dir)) => cwd == dir,
        _ => false,
    }
}

/// Stops every process found below a data directory and waits until all are gone; answers how many there were.
///
/// Needs no rack. With one running, its loops would start them again: stop it first. Blocks for as long as the longest
/// grace, plus a few seconds.
pub fn stop_everything(data_dir: &Path) -> Result<usize, EngineError> {
    let failed = |source| EngineError::Unavailable {
        doing: "stop the processes".to_owned(),
        source,
    };
    let layout = Layout::new(data_dir);
    if !layout.slots().exists() {
        return Ok(0);
    }
    let slots = layout.all_slots().map_err(failed)?;
    let tasks = layout.all_tasks().map_err(failed)?;
    let dirs = slots
        .into_iter()
        .map(|(_, dir)| dir)
        .chain(tasks.into_iter().map(|(_, dir)| dir));
    let mut waiting = Vec::new();
    for dir in dirs {
        let asked = Instant::now();
        if let Some(Asked { process, grace }) = ask(&dir).map_err(failed)? {
            waiting.push((dir, process, asked + patience(grace)));
        }
    }
    let count = waiting.len();
    while !waiting.is_empty() {
        std::thread::sleep(PAUSE);
        waiting.retain(|(dir, process, until)| {
            if *until < Instant::now() {
                force(dir, process);
            }
            is_held(dir)
        });
    }
    // A look clears away what has ended.
    observe::look(&layout).map_err(failed)?;
    Ok(count)
}
