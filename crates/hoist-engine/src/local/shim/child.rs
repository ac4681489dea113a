//! From a clone to the app's first instruction: namespaces, user, limits of the process itself, variables, exec.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chdir, setgroups, sethostname, setresgid, setresuid, setsid};

use super::streams::Streams;
use super::sys::{self, Side};
use super::{Fault, init, layer, root};
use crate::local::cgroup::Cgroups;
use crate::local::record::{Plan, Spec, TreeRecord};
use crate::logfile::Stream;

/// How a process ends that its supervisor gave up.
const GIVEN_UP: i32 = 127;
/// Open files a process may have, where the machine allows it.
const FILES_MAX: u64 = 65_536;

/// A process that was just started.
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// What it writes, when that is for the log.
    pub(super) out: Option<PipeReader>,
    pub(super) err: Option<PipeReader>,
    /// Says why the command could not be executed; ends without a word when it was.
    pub(super) fault: PipeReader,
    /// Says by which signal the command ended, where another process is the first of its namespace (`init`).
    pub(super) signal: PipeReader,
}

impl Child {
    /// The pipe that what is for the log comes through.
    pub(super) fn log_pipe(&mut self, stream: Stream) -> Option<&mut PipeReader> {
        match stream {
            Stream::Out => self.out.as_mut(),
            Stream::Err => self.err.as_mut(),
        }
    }
}

/// The ends of pipes that the first instructions of a process need.
struct Ends {
    fault: PipeWriter,
    signal: PipeWriter,
}

/// Starts the process, on streams of the rack or else with output for the log. What goes wrong in the child is told
/// through [`Child::fault`].
pub(super) fn start(
    spec: &Spec,
    env: &File,
    cgroups: &Cgroups,
    attached: Option<Streams>,
) -> Result<Child, Fault> {
    let (out, err, mut streams) = match attached {
        Some(streams) => (None, None, streams),
        None => {
            let (out, out_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
            let (err, err_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
            let streams = Streams::Log {
                out: out_write,
                err: err_write,
            };
            (Some(out), Some(err), streams)
        }
    };
    let started = start_on(spec, env, cgroups, &mut streams);
    if let Err(fault) = &started {
        streams.fail(fault);
    }
    Ok(Child {
        out,
        err,
        ..started?
    })
}

fn start_on(
    spec: &Spec,
    env: &File,
    cgroups: &Cgroups,
    streams: &mut Streams,
) -> Result<Child, Fault> {
    layer::renew(spec)?;
    let (fault, fault_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let (signal, signal_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let (mut go, mut go_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let cgroup = cgroups.to_clone_into();
    let cgroup = cgroup.as_ref().map(File::as_fd);
    match sys::clone_process(flags(&spec.plan), cgroup).map_err(Fault::of("start a process"))? {
        Side::Child => {
            // Only the shim may hold the reading end: that is how the child notices a shim that died before it.
            drop((fault, signal, go_write));
            let mut go_byte = [0];
            if go.read_exact(&mut go_byte).is_err() {
                sys::exit_now(GIVEN_UP);
            }
            let ends = Ends {
                fault: fault_write,
                signal: signal_write,
            };
            let done = become_app(spec, env, cgroups, streams, &ends);
            fail(&done, streams, &ends.fault)
        }
        Side::Parent { pid, pidfd, placed } => {
            let mut let_go = || {
                if spec.plan.user {
                    map_user(pid).map_err(Fault::of("map the user"))?;
                }
                // In a user namespace it has no right to move itself.
                let entered = cgroups.enter(pid, spec.plan.user, !placed);
                entered.map_err(Fault::of("limit the process"))?;
                go_write
                    .write_all(b"g")
                    .map_err(Fault::of("start a process"))
            };
            match let_go() {
                Ok(()) => Ok(Child {
                    pid,
                    pidfd,
                    out: None,
                    err: None,
                    fault,
                    signal,
                }),
                Err(fault) => {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    super::wait_code(pid);
                    Err(fault)
                }
            }
        }
    }
}

/// Says why the command was not executed, and ends the process that should have become it.
pub(super) fn fail(fault: &Fault, streams: &Streams, mut to: &PipeWriter) -> ! {
    streams.fail(fault);
    let _ = to.write_all(fault.to_string().as_bytes());
    sys::exit_now(fault.code())
}

/// The namespaces of a process.
pub(super) fn flags(plan: &Plan) -> CloneFlags {
    // The cgroup namespace comes later: it starts where the process is, and that is not its own cgroup yet.
    [
        (plan.user, CloneFlags::CLONE_NEWUSER),
        (plan.mount, CloneFlags::CLONE_NEWNS),
        (plan.pid, CloneFlags::CLONE_NEWPID),
        (plan.ipc, CloneFlags::CLONE_NEWIPC),
        (plan.uts, CloneFlags::CLONE_NEWUTS),
    ]
    .into_iter()
    .filter_map(|(wanted, flag)| wanted.then_some(flag))
    .collect()
}

/// Lets the child be in its user namespace who it is outside.
pub(super) fn map_user(pid: i32) -> io::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(format!("/proc/{pid}/uid_map"), format!("{uid} {uid} 1"))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{gid} {gid} 1"))
}

/// Everything between the clone and the exec; returns only what went wrong.
fn become_app(
    spec: &Spec,
    env: &File,
    cgroups: &Cgroups,
    streams: &mut Streams,
    ends: &Ends,
) -> Fault {
    let mut set_up = || -> Result<(), Fault> {
        die_with_shim(Some(&ends.fault))?;
        if !spec.plan.user {
            cgroups
                .enter_self()
                .map_err(Fault::of("limit the process"))?;
        }
        umask(Mode::from_bits_truncate(0o022));
        // A service manager may protect the rack from the kernel's killer; that is not for apps.
        let _ = fs::write("/proc/self/oom_score_adj", "0");
        streams.prepare();
        if spec.plan.cgroup {
            unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Fault::of("separate the cgroups"))?;
        }
        if spec.plan.uts {
            sethostname(&spec.process).map_err(Fault::of("set the host name"))?;
        }
        if spec.plan.mount {
            root::enter(spec)?;
        }
        enter_app_dir(spec)?;
        if streams.are_attached() && spec.plan.pid {
            init::step_aside(spec, &ends.signal)?;
        }
        setsid().map_err(Fault::of("start a session"))?;
        streams.connect(spec.uid)
    };
    match set_up() {
        Ok(()) => execute(spec, &spec.argv, [env], &ends.fault),
        Err(fault) => fault,
    }
}

/// Enters the directory that every process of an app begins in.
pub(super) fn enter_app_dir(spec: &Spec) -> Result<(), Fault> {
    let done = if spec.plan.mount {
        chdir("/app")
    } else {
        match &spec.tree {
            TreeRecord::Writable(dir) => chdir(dir),
            TreeRecord::Slug(_) => chdir(layer::COPY),
        }
    };
    done.map_err(Fault::of("enter the app's directory"))
}

/// Asks the kernel to end this process with its parent, and ends it here when that is too late already: `shim` is a pipe
/// that only the shim reads.
pub(super) fn die_with_shim(shim: Option<&PipeWriter>) -> Result<(), Fault> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Fault::of("follow the supervisor"))?;
    let Some(shim) = shim else { return Ok(()) };
    let mut ends = [PollFd::new(shim.as_fd(), PollFlags::empty())];
    let found = poll(&mut ends, PollTimeout::ZERO).map_err(Fault::of("follow the supervisor"))?;
    if found > 0 {
        sys::exit_now(GIVEN_UP);
    }
    Ok(())
}

/// Gives up all rights that an app must not have.
pub(super) fn renounce(spec: &Spec) -> Result<(), Fault> {
    sys::drop_capability_bounds();
    if let Some(id) = spec.uid {
        setgroups(&[]).map_err(Fault::of("leave the groups"))?;
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        setresgid(gid, gid, gid).map_err(Fault::of("change the group"))?;
        setresuid(uid, uid, uid).map_err(Fault::of("change the user"))?;
    }
    prctl::set_no_new_privs().map_err(Fault::of("renounce new rights"))
}

/// Gives up all rights that the app must not have, and executes; returns only what went wrong.
///
/// Later variables win.
pub(super) fn execute<const N: usize>(
    spec: &Spec,
    argv: &[String],
    env: [&File; N],
    shim: &PipeWriter,
) -> Fault {
    let prepare = || -> Result<Command, Fault> {
        let mut variables = Vec::new();
        for env in env {
            variables.extend(read_variables(env).map_err(Fault::of("read the variables"))?);
        }
        let (program, arguments) = argv
            .split_first()
            .ok_or(Fault::new("run an empty command"))?;
        if spec.background {
            // Where memory runs out all the same, the kernel takes a build before anything that serves.
            let _ = fs::write("/proc/self/oom_score_adj", "1000");
        }
        renounce(spec)?;
        // A change of user forgets it.
        die_with_shim(Some(shim))?;
        // Off for the shim (`ShimCommand::command`), the app's own affair again.
        let _ = prctl::set_thp_disable(false);
        let (_, files) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Fault::of("read a limit"))?;
        let files = files.min(FILES_MAX);
        setrlimit(Resource::RLIMIT_NOFILE, files, files).map_err(Fault::of("limit open files"))?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Fault::of("limit core files"))?;
        if spec.plan.counted {
            let most = spec.pids_max;
            setrlimit(Resource::RLIMIT_NPROC, most, most).map_err(Fault::of("limit processes"))?;
        }
        if spec.background && spec.memory_bytes > 0 && spec.plan.controllers.memory.is_none() {
            // Less than a cgroup's: each process for itself, and refused instead of ended. Not for services, whose
            // runtimes reserve what they never use.
            let most = spec.memory_bytes;
            setrlimit(Resource::RLIMIT_DATA, most, most).map_err(Fault::of("limit memory"))?;
        }
        sys::default_signals();
        SigSet::empty()
            .thread_set_mask()
            .map_err(Fault::of("unblock the signals"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables);
        Ok(command)
    };
    match prepare() {
        Ok(mut command) => {
            let source = command.exec();
            Fault::of(format!("execute {}", argv[0]))(source)
        }
        Err(fault) => fault,
    }
}

/// The variables, from the memory file that came with the shim: `name=value`, each ended by a NUL.
fn read_variables(env: &File) -> io::Result<Vec<(std::ffi::OsString, std::ffi::OsString)>> {
    let length = usize::try_from(env.metadata()?.len()).unwrap_or(0);
    let mut bytes = vec![0; length];
    env.read_exact_at(&mut bytes, 0)?;
    let pair = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| std::ffi::OsString::from_vec(bytes.to_vec());
        Some((text(&entry[..at]), text(&entry[at + 1..])))
    };
    Ok(bytes.split(|byte| *byte == 0).filter_map(pair).collect())
}
