//! The supervisor of one process: a single-threaded program of a few pages, detached from the rack.
//!
//! It is the same binary, called as `shim <state directory>`, with the lock of that directory as standard input and the
//! variables, in a memory file, as standard output. It outlives the rack; when it dies, its process dies. It keeps little:
//! read what is needed, forget the rest, allocate nothing while waiting.

mod child;
mod layer;
mod probe;
mod protocol;
mod root;
mod supervise;
mod sys;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, dup2_stdin, dup2_stdout, setsid};

pub(super) use probe::Found;
pub(super) use probe::PROBE;
pub(super) use protocol::{Answer, Request};

use sys::Side;

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

/// Runs as the shim: `arguments` is what follows the word `shim` on the command line. Never returns.
///
/// Call it first thing in `main`, before any thread is started and before anything is allocated that could stay.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> ! {
    let mut arguments = arguments.into_iter();
    let code = match (arguments.next(), arguments.next()) {
        (Some(word), Some(dir)) if word == PROBE => probe::run(&PathBuf::from(dir)),
        (Some(dir), None) => {
            let dir = PathBuf::from(dir);
            drop(arguments);
            supervise_detached(dir)
        }
        _ => {
            eprintln!("hoist: `shim` is started by the rack, not by hand");
            2
        }
    };
    sys::exit_now(code)
}

fn supervise_detached(dir: PathBuf) -> i32 {
    sys::close_all_but_standard();
    match detach(dir) {
        Ok(None) => 0,
        Ok(Some((lock, env))) => supervise::run(lock, env),
        Err(fault) => {
            eprintln!("hoist shim: {fault}");
            1
        }
    }
}

/// Leaves the rack's session and family. Answers nothing in the process that the rack waits for.
fn detach(dir: PathBuf) -> Result<Option<(File, File)>, Fault> {
    let take = |fd: io::Result<std::os::fd::OwnedFd>| {
        fd.map(File::from)
            .map_err(Fault::of("take the state directory"))
    };
    let lock = take(io::stdin().as_fd().try_clone_to_owned())?;
    let env = take(io::stdout().as_fd().try_clone_to_owned())?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(Fault::of("open /dev/null"))?;
    dup2_stdin(&null).map_err(Fault::of("let go of the input"))?;
    dup2_stdout(&null).map_err(Fault::of("let go of the output"))?;
    drop(null);
    let mut blocked = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGPIPE,
        Signal::SIGQUIT,
        Signal::SIGCHLD,
    ] {
        blocked.add(signal);
    }
    blocked
        .thread_block()
        .map_err(Fault::of("block the signals"))?;
    setsid().map_err(Fault::of("leave the session"))?;
    if let Side::Parent { .. } =
        sys::clone_process(CloneFlags::empty(), None).map_err(Fault::of("leave the rack"))?
    {
        return Ok(None);
    }
    chdir(&dir).map_err(Fault::of("enter the state directory"))?;
    let _ = prctl::set_name(c"hoist-shim");
    Ok(Some((lock, env)))
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
