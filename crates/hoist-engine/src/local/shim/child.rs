//! From a clone to the app's first instruction: namespaces, user, limits of the process itself, variables, exec.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Pid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setgroups, sethostname, setpgid,
    setresgid, setresuid, setsid,
};

use super::sys::{self, Side};
use super::{Fault, layer, root};
use crate::local::cgroup::Cgroups;
use crate::local::record::{Plan, Spec, TreeRecord};

/// What the shell says for a command that cannot be executed.
const EXEC_FAILED: i32 = 127;
/// Open files a process may have, where the machine allows it.
const FILES_MAX: u64 = 65_536;

/// A process that was just started.
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) out: PipeReader,
    pub(super) err: PipeReader,
    /// Says why the command could not be executed; ends without a word when it was.
    pub(super) fault: PipeReader,
}

/// Starts the process. What goes wrong in the child is told through [`Child::fault`].
pub(super) fn start(spec: &Spec, env: &File, cgroups: &Cgroups) -> Result<Child, Fault> {
    layer::renew(spec)?;
    let (out, out_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let (err, err_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let (fault, fault_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let (mut go, mut go_write) = io::pipe().map_err(Fault::of("make a pipe"))?;
    let cgroup = cgroups.to_clone_into();
    let cgroup = cgroup.as_ref().map(File::as_fd);
    match sys::clone_process(flags(&spec.plan), cgroup).map_err(Fault::of("start a process"))? {
        Side::Child => {
            // Only the shim may hold the reading end: that is how the child notices a shim that died before it.
            drop((fault, go_write));
            let mut go_byte = [0];
            if go.read_exact(&mut go_byte).is_err() {
                sys::exit_now(EXEC_FAILED);
            }
            let done = become_app(spec, env, cgroups, [&out_write, &err_write, &fault_write]);
            fail(done, fault_write)
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
                    out,
                    err,
                    fault,
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

/// Writes why the command was not executed, and ends the child.
fn fail(fault: Fault, mut to: PipeWriter) -> ! {
    let _ = to.write_all(fault.to_string().as_bytes());
    sys::exit_now(EXEC_FAILED)
}

fn flags(plan: &Plan) -> CloneFlags {
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
    [out, err, fault]: [&PipeWriter; 3],
) -> Fault {
    let set_up = || -> Result<(), Fault> {
        die_with_shim(Some(fault))?;
        if !spec.plan.user {
            cgroups
                .enter_self()
                .map_err(Fault::of("limit the process"))?;
        }
        setsid().map_err(Fault::of("start a session"))?;
        umask(Mode::from_bits_truncate(0o022));
        // A service manager may protect the rack from the kernel's killer; that is not for apps.
        let _ = fs::write("/proc/self/oom_score_adj", "0");
        let null = File::open("/dev/null").map_err(Fault::of("open /dev/null"))?;
        standard_streams(null.as_fd(), out.as_fd(), err.as_fd())?;
        if spec.plan.cgroup {
            unshare(CloneFlags::CLONE_NEWCGROUP).map_err(Fault::of("separate the cgroups"))?;
        }
        if spec.plan.uts {
            sethostname(&spec.process).map_err(Fault::of("set the host name"))?;
        }
        if spec.plan.mount {
            root::enter(spec)?;
        }
        enter_app_dir(spec)
    };
    match set_up() {
        Ok(()) => execute(spec, &spec.argv, env, Some(fault)),
        Err(fault) => fault,
    }
}

fn enter_app_dir(spec: &Spec) -> Result<(), Fault> {
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

fn standard_streams(input: BorrowedFd, out: BorrowedFd, err: BorrowedFd) -> Result<(), Fault> {
    dup2_stdin(input).map_err(Fault::of("connect the input"))?;
    dup2_stdout(out).map_err(Fault::of("connect the output"))?;
    dup2_stderr(err).map_err(Fault::of("connect the output"))
}

/// Asks the kernel to end this process with its parent, and ends it here when that is too late already.
fn die_with_shim(fault: Option<&PipeWriter>) -> Result<(), Fault> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Fault::of("follow the supervisor"))?;
    let Some(fault) = fault else { return Ok(()) };
    let mut ends = [PollFd::new(fault.as_fd(), PollFlags::empty())];
    let found = poll(&mut ends, PollTimeout::ZERO).map_err(Fault::of("follow the supervisor"))?;
    if found > 0 {
        sys::exit_now(EXEC_FAILED);
    }
    Ok(())
}

/// Gives up all rights that the app must not have, and executes; returns only what went wrong.
fn execute(spec: &Spec, argv: &[String], env: &File, fault: Option<&PipeWriter>) -> Fault {
    let prepare = || -> Result<Command, Fault> {
        let variables = read_variables(env).map_err(Fault::of("read the variables"))?;
        let (program, arguments) = argv
            .split_first()
            .ok_or(Fault::new("run an empty command"))?;
        sys::drop_capability_bounds();
        if let Some(id) = spec.uid {
            setgroups(&[]).map_err(Fault::of("leave the groups"))?;
            let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
            setresgid(gid, gid, gid).map_err(Fault::of("change the group"))?;
            setresuid(uid, uid, uid).map_err(Fault::of("change the user"))?;
            // A change of user forgets it.
            die_with_shim(fault)?;
        }
        // Off for the shim (`ShimCommand::command`), the app's own affair again.
        let _ = prctl::set_thp_disable(false);
        prctl::set_no_new_privs().map_err(Fault::of("renounce new rights"))?;
        let (_, files) = getrlimit(Resource::RLIMIT_NOFILE).map_err(Fault::of("read a limit"))?;
        let files = files.min(FILES_MAX);
        setrlimit(Resource::RLIMIT_NOFILE, files, files).map_err(Fault::of("limit open files"))?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Fault::of("limit core files"))?;
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

/// Runs a command beside the process `beside`, without input and output; answers the pid to wait for, which also is
/// the number of the process group to kill. Exits with what the command exits with.
pub(super) fn check(
    spec: &Spec,
    argv: &[String],
    env: &File,
    beside: &Child,
    cgroups: &Cgroups,
) -> Result<i32, Fault> {
    let cgroup = cgroups.to_clone_into();
    let cgroup = cgroup.as_ref().map(File::as_fd);
    match sys::clone_process(CloneFlags::empty(), cgroup).map_err(Fault::of("start a check"))? {
        Side::Parent { pid, placed, .. } => {
            let _ = cgroups.enter(pid, false, !placed);
            // Both sides set it, so that neither has to wait for the other.
            let _ = setpgid(Pid::from_raw(pid), Pid::from_raw(pid));
            Ok(pid)
        }
        Side::Child => {
            let joined = join(spec, beside, cgroups).and_then(|()| {
                // Once more, because joining a pid namespace counts for children only.
                sys::clone_process(CloneFlags::empty(), None).map_err(Fault::of("start a check"))
            });
            match joined {
                Ok(Side::Child) => {
                    let entered = die_with_shim(None).and_then(|()| enter_app_dir(spec));
                    let _fault =
                        entered.map_or_else(|fault| fault, |()| execute(spec, argv, env, None));
                    sys::exit_now(EXEC_FAILED)
                }
                Ok(Side::Parent { pid, .. }) => sys::exit_now(super::wait_code(pid)),
                Err(_) => sys::exit_now(EXEC_FAILED),
            }
        }
    }
}

fn join(spec: &Spec, beside: &Child, cgroups: &Cgroups) -> Result<(), Fault> {
    die_with_shim(None)?;
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(Fault::of("open /dev/null"))?;
    standard_streams(null.as_fd(), null.as_fd(), null.as_fd())?;
    cgroups.enter_self().map_err(Fault::of("limit the check"))?;
    let flags = flags(&spec.plan);
    if !flags.is_empty() {
        setns(&beside.pidfd, flags).map_err(Fault::of("join the process"))?;
    }
    Ok(())
}
