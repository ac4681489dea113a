//! The directories of the local engine. They are its only memory: a process is a directory, and what holds its lock.
//!
//! ```text
//! <data>/engine/
//!   slots/<app>~<service>~<attempt>~<slot>/   a process of a workload
//!   tasks/<kind>~<app>~<name>/                a task
//!     spec.json   what it is started with, without the values of variables; its lock is held by the living shim
//!     state.json  how it stands
//!     stop        asked to stop, for good; survives everything
//!     sock        where the shim listens; only one shim ever makes it
//!     layer/      what the process wrote over its slug
//!   new/ trash/   half made, half gone: removed at the next start
//!   mnt/          where shims mount, each in a namespace of its own
//!   hints.sock    where shims say "look again"
//!   uids          the user of each app
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hoist_core::id::{AppName, BuildId, ProcessId, ServiceName, SlotId, Version, WorkloadId};

use super::tree::remove_tree;
use crate::TaskId;

pub(super) const SPEC: &str = "spec.json";
pub(super) const STATE: &str = "state.json";
pub(super) const STOP: &str = "stop";
/// Held by the living shim, and before it by the rack that makes the directory. Written once, so a lock on it stays.
const LOCK: &str = SPEC;
pub(super) const SOCKET: &str = "sock";
/// What the shim itself has to say, if it ever goes wrong.
pub(super) const SHIM_LOG: &str = "shim.log";
/// Where a shim puts the root of its process together, from its working directory. All shims mount on the same
/// directory, each in a namespace of its own.
pub(super) const MOUNT_ROOT: &str = "../../mnt/root";
/// Where it shows the slug for an overlay: a name without commas and colons.
pub(super) const MOUNT_LOWER: &str = "../../mnt/lower";
/// The engine's socket for hints, as a shim reaches it from its working directory: short, however deep the data lies.
pub(super) const HINTS_FROM_STATE: &str = "../../hints.sock";

const ENGINE: &str = "engine";
/// Cannot occur in names of apps and services.
const SEPARATOR: char = '~';

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join(ENGINE),
        }
    }

    /// Makes the directories and removes what a crash left half made or half gone.
    pub(super) fn prepare(&self) -> io::Result<()> {
        // Apps without a mount namespace must be able to pass through to their own directory, and see nothing else.
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o711);
        for dir in [
            self.slots(),
            self.tasks(),
            self.root.join("new"),
            self.root.join("trash"),
            self.root.join("mnt/root"),
            self.root.join("mnt/lower"),
        ] {
            builder.create(dir)?;
        }
        for dir in ["new", "trash"] {
            for entry in fs::read_dir(self.root.join(dir))? {
                remove_tree(&entry?.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn slots(&self) -> PathBuf {
        self.root.join("slots")
    }

    pub(super) fn tasks(&self) -> PathBuf {
        self.root.join("tasks")
    }

    pub(super) fn uids(&self) -> PathBuf {
        self.root.join("uids")
    }

    pub(super) fn slot(&self, id: &SlotId) -> PathBuf {
        self.slots().join(slot_name(id))
    }

    pub(super) fn task(&self, id: &TaskId) -> PathBuf {
        self.tasks().join(task_name(id))
    }

    /// A fresh directory that nobody knows of yet.
    pub(super) fn make_new(&self, process: &str) -> io::Result<PathBuf> {
        let dir = self.root.join("new").join(process);
        fs::DirBuilder::new().mode(0o711).create(&dir)?;
        Ok(dir)
    }

    /// Takes a directory out of sight at once, then removes it.
    pub(super) fn discard(&self, dir: &Path) -> io::Result<()> {
        let name = ProcessId::from_random(random_bytes()?);
        let gone = self.root.join("trash").join(name.as_str());
        match fs::rename(dir, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        remove_tree(&gone)
    }

    /// All slots that there are directories of.
    pub(super) fn all_slots(&self) -> io::Result<Vec<(SlotId, PathBuf)>> {
        list(&self.slots(), parse_slot)
    }

    /// All tasks that there are directories of.
    pub(super) fn all_tasks(&self) -> io::Result<Vec<(TaskId, PathBuf)>> {
        list(&self.tasks(), parse_task)
    }
}

fn list<T>(dir: &Path, parse: fn(&str) -> Option<T>) -> io::Result<Vec<(T, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_name().to_str().and_then(parse) {
            Some(id) => found.push((id, entry.path())),
            None => {
                tracing::warn!(path = %entry.path().display(), "a directory that is none of the engine's")
            }
        }
    }
    Ok(found)
}

/// Bytes from the system's random source.
pub(super) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    use std::io::Read as _;
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Opens the file that is a directory's lock, making it if it is missing.
pub(super) fn open_lock(dir: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK))
}

/// Whether the directory's shim lives: somebody holds its lock.
pub(super) fn is_held(dir: &Path) -> bool {
    // Shared, so that two who look at once do not see each other.
    File::open(dir.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Whether the process was asked to stop for good.
pub(super) fn is_marked(dir: &Path) -> bool {
    dir.join(STOP).exists()
}

/// Writes down that the process is to stop for good. Idempotent; a directory that is gone is success.
pub(super) fn mark(dir: &Path) -> io::Result<()> {
    match File::create(dir.join(STOP)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        made => made.map(|_| ()),
    }
}

fn slot_name(id: &SlotId) -> String {
    let WorkloadId {
        app,
        service,
        attempt,
    } = &id.workload;
    format!(
        "{app}{SEPARATOR}{service}{SEPARATOR}{attempt}{SEPARATOR}{}",
        id.slot
    )
}

fn parse_slot(name: &str) -> Option<SlotId> {
    let mut parts = name.split(SEPARATOR);
    let workload = WorkloadId {
        app: parts.next()?.parse().ok()?,
        service: parts.next()?.parse::<ServiceName>().ok()?,
        attempt: parts.next()?.parse::<Version>().ok()?,
    };
    let slot = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(SlotId { workload, slot })
}

fn task_name(id: &TaskId) -> String {
    match id {
        TaskId::ReleaseCommand(app, promotion) => {
            format!("release{SEPARATOR}{app}{SEPARATOR}{promotion}")
        }
        TaskId::Postdeploy(app, promotion) => {
            format!("postdeploy{SEPARATOR}{app}{SEPARATOR}{promotion}")
        }
        TaskId::Build(app, build) => format!("build{SEPARATOR}{app}{SEPARATOR}{build}"),
        TaskId::OneOff(app, process) => format!("run{SEPARATOR}{app}{SEPARATOR}{process}"),
    }
}

fn parse_task(name: &str) -> Option<TaskId> {
    let mut parts = name.split(SEPARATOR);
    let kind = parts.next()?;
    let app: AppName = parts.next()?.parse().ok()?;
    let rest = parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    match kind {
        "release" => Some(TaskId::ReleaseCommand(app, rest.parse().ok()?)),
        "postdeploy" => Some(TaskId::Postdeploy(app, rest.parse().ok()?)),
        "build" => Some(TaskId::Build(app, rest.parse::<BuildId>().ok()?)),
        "run" => Some(TaskId::OneOff(app, rest.parse::<ProcessId>().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_lead_back_to_the_ids() {
        let workload = WorkloadId {
            app: "my-app.x".parse().unwrap(),
            service: "Web_1".parse().unwrap(),
            attempt: Version {
                epoch: 2,
                number: 17,
            },
        };
        let slot = SlotId { workload, slot: 3 };
        assert_eq!(parse_slot(&slot_name(&slot)), Some(slot));
        let app: AppName = "a".parse().unwrap();
        let tasks = [
            TaskId::ReleaseCommand(
                app.clone(),
                Version {
                    epoch: 1,
                    number: 2,
                },
            ),
            TaskId::Postdeploy(
                app.clone(),
                Version {
                    epoch: 1,
                    number: 2,
                },
            ),
            TaskId::Build(app.clone(), BuildId::from_random([7; 16])),
            TaskId::OneOff(app, ProcessId::from_random([9; 6])),
        ];
        for task in tasks {
            assert_eq!(parse_task(&task_name(&task)), Some(task));
        }
        assert_eq!(parse_slot("lost+found"), None);
    }

    #[test]
    fn a_lock_shows_while_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_held(dir.path()));
        let lock = open_lock(dir.path()).unwrap();
        assert!(!is_held(dir.path()));
        lock.try_lock().unwrap();
        assert!(is_held(dir.path()));
        drop(lock);
        assert!(!is_held(dir.path()));
    }
}
