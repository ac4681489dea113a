//! Makes a process: a directory, whole before anybody sees it, and a shim that takes it over.
//!
//! The lock is ours before the directory has its name, and the shim inherits it. So a directory whose lock nobody holds
//! and whose state says that nothing was executed is the remains of a rack that crashed right here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hoist_core::id::{AppName, ProcessId};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::attach::Far;
use super::layout::{SPEC, STATE, is_held, open_lock, random_bytes};
use super::record::{self, PROTOCOL, Phase, Spec, State, TreeRecord};
use super::{Inner, ports, tree, uids};
use crate::logfile;
use crate::{EngineError, ProcessSpec, SEARCH_PATH, Secret, Tree};

/// Processes and threads that a process may have where its specification does not say.
const PIDS_MAX: u64 = 512;

/// What is to be made.
pub(super) struct Start<'a> {
    /// Where it goes; nothing may be there.
    pub(super) dir: PathBuf,
    /// Its process id, when the caller has given it one.
    pub(super) id: Option<&'a ProcessId>,
    pub(super) app: &'a AppName,
    pub(super) process: &'a ProcessSpec,
    pub(super) port: bool,
    pub(super) restart: bool,
    pub(super) limit: Option<Duration>,
    /// What was there before and was lost.
    pub(super) after: Option<State>,
    /// The rack's streams, instead of the log.
    pub(super) attached: Option<Far>,
}

/// Makes the directory and starts the shim. Answers whether it was made: false when one was there already.
pub(super) fn start(inner: &Inner, start: &Start) -> Result<bool, EngineError> {
    refuse_nonsense(inner, start.process)?;
    let failed = |source| EngineError::Unavailable {
        doing: "start a process".to_owned(),
        source,
    };
    let process = match start.id {
        Some(id) => id.clone(),
        None => ProcessId::from_random(random_bytes().map_err(failed)?),
    };
    let uid = prepare_trees(inner, start).map_err(failed)?;
    let port = if start.port {
        Some(choose_port(inner).map_err(failed)?)
    } else {
        None
    };
    let made = make(inner, start, &process, uid, port).map_err(failed)?;
    let (new, lock) = made;
    let env = variables(inner, start, port).map_err(failed)?;
    match fs::rename(&new, &start.dir) {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            let _ = inner.layout.discard(&new);
            return Ok(false);
        }
        Err(error) => {
            let _ = inner.layout.discard(&new);
            return Err(failed(error));
        }
    }
    let launched = sync_parent(start).and_then(|()| {
        let streams = start.attached.iter().flat_map(|far| &far.files);
        let ours = [lock.as_fd(), env.as_fd()];
        let files: Vec<_> = ours.into_iter().chain(streams.map(AsFd::as_fd)).collect();
        inner.nursery.start(&start.dir, &files)
    });
    drop(lock);
    match launched {
        // The answer may be lost and the shim there all the same: the lock knows.
        Err(error) if !is_held(&start.dir) => {
            let _ = inner.layout.discard(&start.dir);
            Err(failed(error))
        }
        _ => Ok(true),
    }
}

fn refuse_nonsense(inner: &Inner, process: &ProcessSpec) -> Result<(), EngineError> {
    let refuse = |why: String| {
        Err(EngineError::Refused {
            doing: "start a process".to_owned(),
            why,
        })
    };
    refuse_words(&process.argv, &process.env).or_else(refuse)?;
    if let Some((_, inside)) = process
        .volumes
        .iter()
        .find(|(_, inside)| !may_be_a_volume(inside))
    {
        return refuse(format!(
            "a volume cannot be shown at `{inside}`: choose a place like /data, or one below /app"
        ));
    }
    if !inner.found.plan.mount && !process.volumes.is_empty() {
        return refuse("volumes need mount namespaces, and this machine refuses them".to_owned());
    }
    Ok(())
}

/// What no command can be started with, whatever it is: the reason.
pub(super) fn refuse_words(argv: &[String], env: &[(String, Secret)]) -> Result<(), String> {
    if argv.is_empty() {
        return Err("its command is empty".to_owned());
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err("its command contains a NUL character".to_owned());
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            let name = name.escape_debug();
            return Err(format!("`{name}` is no name for a variable"));
        }
        if value.expose().contains('\0') {
            return Err(format!("the value of {name} contains a NUL character"));
        }
    }
    Ok(())
}

/// Whether a volume may be shown there: an absolute place that is none of the machine's own.
fn may_be_a_volume(inside: &str) -> bool {
    const TAKEN: [&str; 12] = [
        "bin", "dev", "etc", "lib", "lib32", "lib64", "old", "proc", "run", "sbin", "sys", "usr",
    ];
    let mut parts = Path::new(inside).components();
    let absolute = parts.next() == Some(Component::RootDir);
    let Some(Component::Normal(first)) = parts.next() else {
        return false;
    };
    absolute
        && !TAKEN.iter().any(|taken| first == *taken)
        && parts
            .clone()
            .all(|part| matches!(part, Component::Normal(_)))
        && (first != "app" || parts.next().is_some())
}

/// Gives the trees to the app's user, where processes have one.
fn prepare_trees(inner: &Inner, start: &Start) -> io::Result<Option<u32>> {
    fs::create_dir_all(&start.process.log_dir)?;
    for (dir, _) in &start.process.volumes {
        fs::create_dir_all(dir)?;
    }
    if !inner.found.other_user {
        return Ok(None);
    }
    let uid = uids::of(&inner.layout.uids(), start.app, inner.config.first_uid)?;
    let (Tree::Slug(tree) | Tree::Writable(tree)) = &start.process.tree;
    tree::give_to(tree, uid)?;
    for (dir, _) in &start.process.volumes {
        tree::give_to(dir, uid)?;
    }
    Ok(Some(uid))
}

fn choose_port(inner: &Inner) -> io::Result<u16> {
    let mut taken: BTreeSet<u16> = inner.config.reserved_ports.iter().copied().collect();
    for (_, dir) in inner.layout.all_slots()? {
        let state = record::read::<State>(&dir.join(STATE));
        taken.extend(state.ok().and_then(|state| state.port));
    }
    ports::choose(&taken, u16::from_ne_bytes(random_bytes()?))
}

/// Makes the directory, whole, where nobody looks, and takes its lock.
fn make(
    inner: &Inner,
    start: &Start,
    id: &ProcessId,
    uid: Option<u32>,
    port: Option<u16>,
) -> io::Result<(PathBuf, File)> {
    let ProcessSpec {
        argv,
        tree,
        volumes,
        ..
    } = start.process;
    let dir = inner.layout.make_new(id.as_str())?;
    let log = start
        .process
        .log_dir
        .join(logfile::file_name(&start.process.log_source, id.as_str()));
    let spec = Spec {
        protocol: PROTOCOL,
        process: id.as_str().to_owned(),
        argv: argv.clone(),
        tree: match tree {
            Tree::Slug(dir) => TreeRecord::Slug(std::path::absolute(dir)?),
            Tree::Writable(dir) => TreeRecord::Writable(std::path::absolute(dir)?),
        },
        volumes: volumes
            .iter()
            .map(|(dir, inside)| Ok((std::path::absolute(dir)?, inside.clone())))
            .collect::<io::Result<_>>()?,
        read_only: inner.config.read_only.clone(),
        uid,
        memory_bytes: start.process.memory_bytes,
        cpu_millicores: start.process.cpu_millicores,
        pids_max: if start.process.pids_max == 0 {
            PIDS_MAX
        } else {
            start.process.pids_max
        },
        background: start.process.background,
        grace_ms: millis(start.process.stop_grace),
        limit_ms: start.limit.map(millis),
        restart: start.restart,
        log: std::path::absolute(log)?,
        log_bytes_max: start.process.log_bytes_max,
        plan: inner.found.plan.clone(),
        attached: start.attached.as_ref().map(|far| far.attached),
    };
    let state = State {
        protocol: PROTOCOL,
        process: spec.process.clone(),
        phase: Phase::Made,
        port,
        restarts: start.after.as_ref().map_or(0, |before| before.restarts + 1),
        grace_ms: spec.grace_ms,
        started_ms: logfile::now_ms(),
        pid: None,
        shim: None,
        exit: None,
        last_exit: start.after.as_ref().and_then(|before| before.exit),
        pid_started: None,
        boot: String::new(),
        controllers: spec.plan.controllers.clone(),
        own_pids: spec.plan.pid,
        restart: start.restart,
    };
    record::create(&dir.join(SPEC), &spec)?;
    record::create(&dir.join(STATE), &state)?;
    let lock = open_lock(&dir)?;
    lock.try_lock().map_err(io::Error::from)?;
    Ok((dir, lock))
}

/// The variables in memory that has no name and does not change: never in a file.
fn variables(inner: &Inner, start: &Start, port: Option<u16>) -> io::Result<File> {
    let home = if inner.found.plan.mount {
        PathBuf::from("/app")
    } else {
        match &start.process.tree {
            Tree::Slug(_) => start.dir.join("layer/app"),
            Tree::Writable(dir) => dir.clone(),
        }
    };
    let given = |wanted: &str| {
        let mut env = start.process.env.iter();
        env.find(|(name, _)| name == wanted)
            .map(|(_, value)| value.expose())
    };
    let path = search_path(start, &home, given("PATH"));
    let port = port.map(|port| port.to_string());
    let env = start.process.env.iter();
    let mut all: Vec<(&str, &[u8])> = env
        .filter(|(name, _)| !(name == "PATH" || name == "PORT" && port.is_some()))
        .map(|(name, value)| (name.as_str(), value.expose().as_bytes()))
        .collect();
    if given("HOME").is_none() {
        all.push(("HOME", home.as_os_str().as_encoded_bytes()));
    }
    all.push(("PATH", &path));
    if let Some(port) = &port {
        all.push(("PORT", port.as_bytes()));
    }
    sealed(&all)
}

/// A memory file of variables: `name=value`, each ended by a NUL.
pub(super) fn sealed(variables: &[(&str, &[u8])]) -> io::Result<File> {
    let mut file = File::from(memfd_create(
        c"env",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?);
    for (name, value) in variables {
        file.write_all(&[name.as_bytes(), b"=", value, b"\0"].concat())?;
    }
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Where programs are looked up: in the tree first, where it is asked for. It may lie elsewhere than at `/app`.
fn search_path(start: &Start, home: &Path, given: Option<&str>) -> Vec<u8> {
    let mut path = Vec::new();
    for dir in &start.process.path {
        path.extend_from_slice(home.join(dir).as_os_str().as_encoded_bytes());
        path.push(b':');
    }
    path.extend_from_slice(given.unwrap_or(SEARCH_PATH).as_bytes());
    path
}

/// The name of a task's directory is on the disk before anything of it runs: it must not run twice, not even over a power cut.
fn sync_parent(start: &Start) -> io::Result<()> {
    match (start.limit, start.dir.parent()) {
        (Some(_), Some(parent)) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

impl super::ShimCommand {
    /// The command that runs the shim's entry with these arguments, without anything of our own environment.
    pub(super) fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0("hoist")
            .arg("shim")
            .args(arguments)
            .env_clear()
            .current_dir("/");
        command
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_shown_where_nothing_else_is() {
        for good in ["/data", "/var/lib/x", "/app/uploads", "/data/"] {
            assert!(may_be_a_volume(good), "{good}");
        }
        for bad in [
            "",
            "data",
            "/",
            "/app",
            "/app/",
            "/usr/local",
            "/proc",
            "/data/../etc",
            "../x",
        ] {
            assert!(!may_be_a_volume(bad), "{bad}");
        }
    }
}
