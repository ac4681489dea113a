//! The supervisor of one process: a single-threaded program of a few pages, detached from the rack.
//!
//! It is a clone of the `nursery`, which is our own binary called as `shim`. It gets a state directory, the lock of that
//! directory, and the variables in a memory file. It outlives the rack; when it dies, its process dies. It keeps little:
//! read what is needed, forget the rest, allocate nothing while waiting.

mod beside;
mod child;
mod init;
mod layer;
mod nursery;
mod probe;
mod protocol;
mod root;
mod streams;
mod supervise;
mod sys;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

pub(super) use nursery::STARTED;
pub(super) use probe::Found;
pub(super) use probe::PROBE;
pub(super) use protocol::{Answer, REQUEST_MAX, Request};
pub(super) use streams::TERMINAL;
pub(super) use sys::{receive, set_terminal_size, watch};

/// What went wrong in setting up or executing a process.
#[derive(Debug)]
struct Fault {
    doing: String,
    source: Option<io::Error>,
}

impl Fault {
    fn new(doing: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            source: None,
        }
    }

    /// The exit status that a shell gives: 126 for what may not be executed, 127 for what cannot.
    fn code(&self) -> i32 {
        match &self.source {
            Some(source) if source.kind() == io::ErrorKind::PermissionDenied => 126,
            _ => 127,
        }
    }

    /// Makes the mapping for `map_err`.
    fn of<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        |source| Self {
            doing,
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.doing)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// Runs as the nursery of shims: `arguments` is what follows the word `shim` on the command line. Never returns.
///
/// Call it first thing in `main`, before any thread is started and before anything is allocated that could stay.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> ! {
    let mut arguments = arguments.into_iter();
    let code = match (arguments.next(), arguments.next()) {
        (None, _) => nursery::run(),
        (Some(word), Some(dir)) if word == PROBE => probe::run(&PathBuf::from(dir)),
        _ => {
            eprintln!("hoist: `shim` is started by the rack, not by hand");
            2
        }
    };
    sys::exit_now(code)
}

/// Writes down what went wrong with the shim itself; the state directory is the only place that it has.
fn complain(text: &str) {
    let _ = std::fs::write(crate::local::layout::SHIM_LOG, text);
}

/// Waits for a child and answers its status as a shell would.
fn wait_code(pid: i32) -> i32 {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32,
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(_) => return 255,
        }
    }
}
