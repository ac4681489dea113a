//! What lies in a process's state directory: the only words that rack and shim exchange on disk.
//!
//! Shims outlive upgrades of the rack, so every field that comes later needs a default, and no field changes its meaning.
//! Values of variables are in neither file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of these records and of the socket's words. A rack reads this one and the one before.
pub(crate) const PROTOCOL: u32 = 2;

/// What a shim is told to run. Written once, before the shim starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) protocol: u32,
    /// Twelve hex digits; also the host name inside and the name of the cgroups.
    pub(crate) process: String,
    pub(crate) argv: Vec<String>,
    pub(crate) tree: TreeRecord,
    pub(crate) volumes: Vec<(PathBuf, String)>,
    /// Toolchains outside `/usr`, shown read-only at the same place.
    pub(crate) read_only: Vec<PathBuf>,
    /// The user it runs as; none to stay what the rack is.
    pub(crate) uid: Option<u32>,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millicores: u64,
    pub(crate) pids_max: u64,
    /// Gives way to others where CPU time is short.
    #[serde(default)]
    pub(crate) background: bool,
    pub(crate) grace_ms: u64,
    /// When it is killed at the latest, counted from the start.
    pub(crate) limit_ms: Option<u64>,
    /// Whether it is started again when it ends.
    pub(crate) restart: bool,
    pub(crate) log: PathBuf,
    pub(crate) log_bytes_max: u64,
    pub(crate) plan: Plan,
    /// Whose streams it has; none for the log's.
    #[serde(default)]
    pub(crate) attached: Option<Attached>,
}

/// Streams that the rack holds the other ends of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attached {
    /// Three pipes.
    Pipes,
    /// A terminal.
    Terminal { columns: u16, rows: u16 },
}

/// The tree that shows as `/app`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TreeRecord {
    /// Immutable, below a layer that ends with the process.
    Slug(PathBuf),
    /// Changed in place.
    Writable(PathBuf),
}

/// Which isolation the shim sets up: exactly what was found to work on this machine, nothing tried again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Plan {
    /// A user namespace of its own, because the rack is not root (or not allowed to be).
    pub(crate) user: bool,
    pub(crate) mount: bool,
    pub(crate) pid: bool,
    pub(crate) ipc: bool,
    pub(crate) uts: bool,
    pub(crate) cgroup: bool,
    /// A `/proc` of its own; else the machine's is shown.
    pub(crate) own_proc: bool,
    /// The writable layer is an overlay; else a copy of the slug.
    pub(crate) overlay: bool,
    /// Processes are counted by the user namespace, where no cgroup does.
    #[serde(default)]
    pub(crate) counted: bool,
    pub(crate) controllers: Controllers,
}

/// Where cgroups can be made, per controller.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Controllers {
    pub(crate) memory: Option<Controller>,
    pub(crate) cpu: Option<Controller>,
    /// Where used CPU time is counted; on v2 the same as `cpu`.
    pub(crate) cpu_time: Option<Controller>,
    pub(crate) pids: Option<Controller>,
}

/// One controller's directory, below which every process gets its own.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) base: PathBuf,
    pub(crate) v2: bool,
}

/// How a process stands. The rack writes the first one, from then on only the shim writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) protocol: u32,
    pub(crate) process: String,
    pub(crate) phase: Phase,
    #[serde(default)]
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) restarts: u32,
    #[serde(default)]
    pub(crate) grace_ms: u64,
    /// Wall clock, milliseconds.
    #[serde(default)]
    pub(crate) started_ms: u64,
    /// The process, as the machine counts; meaningful only while the shim lives.
    #[serde(default)]
    pub(crate) pid: Option<i32>,
    /// The shim itself, likewise.
    #[serde(default)]
    pub(crate) shim: Option<i32>,
    /// How the present incarnation ended.
    #[serde(default)]
    pub(crate) exit: Option<ExitRecord>,
    /// How the incarnation before ended.
    #[serde(default)]
    pub(crate) last_exit: Option<ExitRecord>,
    /// When that process started, in ticks of the boot named below: together they name it for ever.
    #[serde(default)]
    pub(crate) pid_started: Option<u64>,
    /// Which boot of the machine the numbers belong to.
    #[serde(default)]
    pub(crate) boot: String,
    /// Where its cgroups are, so that whoever cleans up after a dead shim finds them.
    #[serde(default)]
    pub(crate) controllers: Controllers,
    /// Whether it has process ids of its own.
    #[serde(default)]
    pub(crate) own_pids: bool,
    /// Whether it is started again when it ends.
    #[serde(default)]
    pub(crate) restart: bool,
}

/// Where a process stands in its life.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// The directory is there, nothing was ever executed.
    Made,
    /// It runs.
    Running,
    /// It ended and is started again after a pause.
    Waiting,
    /// It was told to stop and has not ended.
    Stopping,
    /// It ended for good, or was stopped; the shim leaves.
    Ended,
}

/// How an incarnation ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct ExitRecord {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) cause: Cause,
    /// Wall clock, milliseconds.
    pub(crate) at_ms: u64,
}

/// Why, where the number does not say it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    Own,
    OutOfMemory,
    ExecFailed,
    Lost,
}

/// Names this boot of the machine.
pub(crate) fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Reads one of the records.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

/// Writes one of the records so that a reader sees the old one or the new one, whole.
///
/// With `durable`, it is on the disk when this returns.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T, durable: bool) -> io::Result<()> {
    let half = path.with_extension("tmp");
    let file = create(&half, record)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&half, path)?;
    if durable {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Writes one of the records where nobody looks yet.
pub(crate) fn create<T: Serialize>(path: &Path, record: &T) -> io::Result<fs::File> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let bytes = serde_json::to_vec(record).map_err(io::Error::from)?;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&bytes)?;
    Ok(file)
}
