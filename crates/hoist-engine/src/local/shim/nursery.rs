//! Where shims come from: one process of the rack, started once, that is cloned for each new shim.
//!
//! Starting a program of our size anew costs milliseconds and, for its relocated pages, a megabyte each time; a clone
//! shares those pages with all its siblings. The nursery ends with the rack; the shims, which it lets go of at once, do not.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::Fault;
use super::supervise;
use super::sys::{self, Side};
use crate::local::layout::SOCKET;

/// What the rack is answered when a shim was started; anything else says what went wrong.
pub(in crate::local) const STARTED: &[u8] = b"started";

/// Serves the rack on standard input until it is gone.
pub(super) fn run() -> i32 {
    sys::close_all_but_standard();
    if let Err(fault) = settle() {
        eprintln!("hoist shim: {fault}");
        return 1;
    }
    loop {
        let socket = io::stdin();
        match sys::receive(socket.as_fd()) {
            Ok(Some((dir, files))) => {
                let answer = match bear(PathBuf::from(std::ffi::OsString::from_vec(dir)), files) {
                    Ok(()) => STARTED.to_vec(),
                    Err(fault) => fault.to_string().into_bytes(),
                };
                if nix::unistd::write(socket.as_fd(), &answer).is_err() {
                    return 0;
                }
            }
            // The rack is gone, maybe without having heard the last answer.
            Ok(None) => return 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return 0,
            Err(error) => {
                eprintln!("hoist shim: could not hear the rack: {error}");
                return 1;
            }
        }
    }
}

/// Makes ready for what all shims have in common: only SIGKILL ends one.
fn settle() -> Result<(), Fault> {
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
    // A terminal's Ctrl-C is for the rack, and the end of the rack is enough for us.
    let _ = setsid();
    let _ = prctl::set_name(c"hoist-nursery");
    Ok(())
}

/// Clones a shim and lets go of it.
fn bear(dir: PathBuf, files: Vec<OwnedFd>) -> Result<(), Fault> {
    match sys::clone_process(CloneFlags::empty(), None).map_err(Fault::of("start a supervisor"))? {
        Side::Parent { pid, .. } => match super::wait_code(pid) {
            0 => Ok(()),
            _ => Err(Fault::new("let go of a supervisor")),
        },
        Side::Child => {
            // In between, so that the shim is nobody's child and leads no session.
            let let_go = setsid().is_ok();
            match sys::clone_process(CloneFlags::empty(), None) {
                Ok(Side::Child) => sys::exit_now(live(&dir, files)),
                Ok(Side::Parent { .. }) if let_go => sys::exit_now(0),
                _ => sys::exit_now(1),
            }
        }
    }
}

/// The life of a shim.
fn live(dir: &Path, files: Vec<OwnedFd>) -> i32 {
    let _ = prctl::set_name(c"hoist-shim");
    match take_over(dir, files) {
        Ok(taken) => supervise::run(taken),
        Err(fault) => {
            super::complain(&fault.to_string());
            1
        }
    }
}

/// What a shim holds from the start.
pub(super) struct Taken {
    /// Held until the end: whoever finds it free knows that the shim is gone.
    pub(super) lock: File,
    /// The variables.
    pub(super) env: File,
    pub(super) socket: UnixListener,
    /// What the streams of an attached process are made of.
    pub(super) streams: Vec<OwnedFd>,
}

/// Takes the state directory over: at most one shim ever does.
fn take_over(dir: &Path, files: Vec<OwnedFd>) -> Result<Taken, Fault> {
    chdir(dir).map_err(Fault::of("enter the state directory"))?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(Fault::of("open /dev/null"))?;
    dup2_stdin(&null).map_err(Fault::of("let go of the rack"))?;
    dup2_stdout(&null).map_err(Fault::of("let go of the rack"))?;
    dup2_stderr(&null).map_err(Fault::of("let go of the rack"))?;
    std::panic::set_hook(Box::new(|panic| super::complain(&panic.to_string())));
    let mut files = files.into_iter();
    let (Some(lock), Some(env)) = (files.next(), files.next()) else {
        return Err(Fault::new("find the lock and the variables"));
    };
    let (lock, env, streams) = (File::from(lock), File::from(env), files.collect());
    // A rack that heard no answer asks again, and both would hold the same lock. The socket is made once and stays.
    let socket = UnixListener::bind(SOCKET).map_err(Fault::of("open its socket"))?;
    socket
        .set_nonblocking(true)
        .map_err(Fault::of("open its socket"))?;
    Ok(Taken {
        lock,
        env,
        socket,
        streams,
    })
}
