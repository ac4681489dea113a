//! From a clone to the first instruction of a command that runs beside the process: in its namespaces, its limits, as its user.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;

use super::Fault;
use super::child::{self, Child};
use super::streams::Streams;
use super::sys::{self, Side};
use crate::local::cgroup::Cgroups;
use crate::local::record::Spec;

/// A command that was just started.
pub(super) struct Command {
    /// Also the number of its session.
    pub(super) pid: i32,
    /// Once it ended: why the command could not be executed, or nothing.
    pub(super) fault: PipeReader,
}

/// What to start it with, and beside what.
pub(super) struct Start<'a> {
    pub(super) spec: &'a Spec,
    pub(super) argv: &'a [String],
    /// The variables of the process, and more that win.
    pub(super) env: [&'a File; 2],
    pub(super) beside: &'a Child,
    pub(super) cgroups: &'a Cgroups,
    pub(super) streams: Streams,
}

/// Starts the command. It is our own child, so its end is ours to reap.
pub(super) fn start(start: Start) -> Result<Command, Fault> {
    let made = Fault::of::<io::Error>("make a pipe");
    let (fault, fault_write) = io::pipe().map_err(made)?;
    let (mut number, mut number_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let cgroup = start.cgroups.to_clone_into();
    let cgroup = cgroup.as_ref().map(File::as_fd);
    let cloned = sys::clone_process(CloneFlags::empty(), cgroup);
    match cloned.map_err(Fault::of("start a command"))? {
        Side::Child => {
            drop((fault, number));
            be_between(start, &fault_write, &mut number_write)
        }
        Side::Parent { pid, placed, .. } => {
            drop((fault_write, number_write));
            // Before the command is there, so that it is limited from its first instruction.
            let _ = start.cgroups.enter(pid, false, !placed);
            let mut bytes = [0; 4];
            let read = number.read_exact(&mut bytes);
            super::wait_code(pid);
            match read {
                Ok(()) => Ok(Command {
                    pid: i32::from_ne_bytes(bytes),
                    fault,
                }),
                Err(_) => Err(last_words(fault)),
            }
        }
    }
}

fn last_words(mut fault: PipeReader) -> Fault {
    let mut words = String::new();
    let _ = fault.read_to_string(&mut words);
    Fault::new(match words.strip_prefix("could not ") {
        Some(words) => words.to_owned(),
        None => "start a command".to_owned(),
    })
}

/// Joins the process and clones the command: joining a pid namespace counts for children only. Then it leaves, because
/// the command is not its child but its sibling.
fn be_between(mut start: Start, fault: &PipeWriter, number: &mut PipeWriter) -> ! {
    let joined = join(&mut start).and_then(|()| {
        let cloned = sys::clone_process(CloneFlags::CLONE_PARENT, None);
        cloned.map_err(Fault::of("start a command"))
    });
    match joined {
        Ok(Side::Child) => {
            let Start {
                spec,
                argv,
                env,
                mut streams,
                ..
            } = start;
            let done = match settle(spec, &mut streams, fault) {
                Ok(()) => child::execute(spec, argv, env, fault),
                Err(fault) => fault,
            };
            child::fail(&done, &streams, fault)
        }
        Ok(Side::Parent { pid, .. }) => {
            let told = number.write_all(&pid.to_ne_bytes());
            sys::exit_now(i32::from(told.is_err()))
        }
        Err(done) => child::fail(&done, &start.streams, fault),
    }
}

fn join(start: &mut Start) -> Result<(), Fault> {
    child::die_with_shim(None)?;
    let limited = start.cgroups.enter_self();
    limited.map_err(Fault::of("limit the command"))?;
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    start.streams.prepare();
    let mut flags = child::flags(&start.spec.plan);
    if start.spec.plan.cgroup {
        flags |= CloneFlags::CLONE_NEWCGROUP;
    }
    if !flags.is_empty() {
        setns(&start.beside.pidfd, flags).map_err(Fault::of("join the process"))?;
    }
    Ok(())
}

fn settle(spec: &Spec, streams: &mut Streams, fault: &PipeWriter) -> Result<(), Fault> {
    child::die_with_shim(Some(fault))?;
    umask(Mode::from_bits_truncate(0o022));
    setsid().map_err(Fault::of("start a session"))?;
    streams.connect(spec.uid)?;
    child::enter_app_dir(spec)
}
