//! The first process of a namespace whose command is attached: starts nothing, reaps everything, ends with the command.
//!
//! The kernel withholds from the first process every signal that it has no handler for, and few commands are written for
//! that: Ctrl-C would end neither `sleep` nor `cat`, and a terminal that hangs up would go unnoticed.

use std::io::PipeWriter;

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};

use super::sys::{self, Side};
use super::{Fault, child};
use crate::local::record::Spec;

/// Makes the calling process the first one, and returns in a new second one.
pub(super) fn step_aside(spec: &Spec, signal: &PipeWriter) -> Result<(), Fault> {
    let cloned = sys::clone_process(CloneFlags::empty(), None);
    match cloned.map_err(Fault::of("start the command"))? {
        Side::Child => Ok(()),
        Side::Parent { pid, .. } => sys::exit_now(be_first(spec, pid, signal)),
    }
}

/// Waits for the command; answers its exit status.
fn be_first(spec: &Spec, command: i32, signal: &PipeWriter) -> i32 {
    // What is not its own, the streams above all, is the command's alone: an end is seen when that lets go.
    if nix::unistd::dup2_stdin(signal).is_err() {
        return 255;
    }
    sys::close_from(1);
    let signal = std::io::stdin();
    let _ = prctl::set_name(c"hoist-init");
    // An app is not ruled by somebody with more rights than its own.
    if child::renounce(spec)
        .and_then(|()| child::die_with_shim(None))
        .is_err()
    {
        return 255;
    }
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == command => return code,
            Ok(WaitStatus::Signaled(pid, by, _)) if pid.as_raw() == command => {
                let number = by as i32;
                let _ = nix::unistd::write(&signal, &[number as u8]);
                return 128 + number;
            }
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(_) => return 255,
        }
    }
}
