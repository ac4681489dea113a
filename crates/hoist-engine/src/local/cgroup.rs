//! The cgroups of one process: limits, who is in, what was used. Version 1, version 2 and both at once.
//!
//! Which controller is where was found out once (`capabilities`); here is only what one process needs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::{Controller, Controllers};

/// The period over which CPU time is limited, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The limits of one process; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) memory_bytes: u64,
    pub(super) cpu_millicores: u64,
    pub(super) pids_max: u64,
    /// Others come first where CPU time is short.
    pub(super) background: bool,
}

/// The cgroups of one process.
#[derive(Debug, Clone)]
pub(super) struct Cgroups {
    memory: Option<Place>,
    cpu: Option<Place>,
    cpu_time: Option<Place>,
    pids: Option<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    dir: PathBuf,
    v2: bool,
}

impl Place {
    fn file(&self, v1: &str, v2: &str) -> PathBuf {
        self.dir.join(if self.v2 { v2 } else { v1 })
    }

    fn number(&self, v1: &str, v2: &str) -> Option<u64> {
        fs::read_to_string(self.file(v1, v2))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// The number behind a word in a file of `word number` lines.
    fn field(&self, v1: (&str, &str), v2: (&str, &str)) -> Option<u64> {
        let (name, word) = if self.v2 { v2 } else { v1 };
        let text = fs::read_to_string(self.dir.join(name)).ok()?;
        text.lines().find_map(|line| {
            line.strip_prefix(word)?
                .strip_prefix(' ')?
                .trim()
                .parse()
                .ok()
        })
    }
}

impl Cgroups {
    /// Names the cgroups of a process, without touching anything.
    pub(super) fn of(controllers: &Controllers, process: &str) -> Self {
        let place = |controller: &Option<Controller>| {
            controller.as_ref().map(|c| Place {
                dir: c.base.join(process),
                v2: c.v2,
            })
        };
        Self {
            memory: place(&controllers.memory),
            cpu: place(&controllers.cpu),
            cpu_time: place(&controllers.cpu_time),
            pids: place(&controllers.pids),
        }
    }

    /// Whether processes can be listed by their cgroup.
    pub(super) fn lists(&self) -> bool {
        !self.dirs().is_empty()
    }

    /// Each directory, and whether it is of version 2.
    fn dirs(&self) -> BTreeSet<(&Path, bool)> {
        [&self.memory, &self.cpu, &self.cpu_time, &self.pids]
            .into_iter()
            .flatten()
            .map(|place| (place.dir.as_path(), place.v2))
            .collect()
    }

    /// Makes them and sets the limits. Idempotent.
    pub(super) fn create(&self, limits: Limits) -> io::Result<()> {
        for (dir, _) in self.dirs() {
            fs::create_dir_all(dir)?;
        }
        if let (Some(place), 1..) = (&self.memory, limits.memory_bytes) {
            let bytes = limits.memory_bytes.to_string();
            fs::write(place.file("memory.limit_in_bytes", "memory.max"), &bytes)?;
            // Swap would make the limit a lie; machines without swap accounting lack the file.
            let (swap, most) = if place.v2 {
                ("memory.swap.max", "0")
            } else {
                ("memory.memsw.limit_in_bytes", bytes.as_str())
            };
            let _ = overwrite(&place.dir.join(swap), most);
            if place.v2 {
                let _ = overwrite(&place.dir.join("memory.oom.group"), "1");
            }
        }
        if let (Some(place), 1..) = (&self.cpu, limits.cpu_millicores) {
            let quota = limits.cpu_millicores.max(10) * CPU_PERIOD / 1_000;
            if place.v2 {
                fs::write(place.dir.join("cpu.max"), format!("{quota} {CPU_PERIOD}"))?;
            } else {
                fs::write(place.dir.join("cpu.cfs_period_us"), CPU_PERIOD.to_string())?;
                fs::write(place.dir.join("cpu.cfs_quota_us"), quota.to_string())?;
            }
        }
        if let (Some(place), true) = (&self.cpu, limits.background) {
            // A tenth of what a process has that nobody said anything about.
            let weight = if place.v2 { "10" } else { "102" };
            fs::write(place.file("cpu.shares", "cpu.weight"), weight)?;
        }
        if let (Some(place), 1..) = (&self.pids, limits.pids_max) {
            fs::write(place.dir.join("pids.max"), limits.pids_max.to_string())?;
        }
        Ok(())
    }

    /// The directory to clone a process into, where version 2 makes that possible.
    pub(super) fn to_clone_into(&self) -> Option<fs::File> {
        let places = [&self.memory, &self.cpu, &self.pids];
        let place = places.into_iter().flatten().find(|place| place.v2)?;
        fs::File::open(&place.dir).ok()
    }

    /// Puts another process in, where it is not yet; its children follow. Slow: the kernel waits for all its processors.
    pub(super) fn enter(&self, pid: i32, v1: bool, v2: bool) -> io::Result<()> {
        for (dir, is_v2) in self.dirs() {
            if if is_v2 { v2 } else { v1 } {
                fs::write(dir.join("cgroup.procs"), pid.to_string())?;
            }
        }
        Ok(())
    }

    /// Puts the calling process, which has one thread, into those of version 1. Fast: moving oneself needs no waiting.
    pub(super) fn enter_self(&self) -> io::Result<()> {
        for (dir, is_v2) in self.dirs() {
            if !is_v2 {
                fs::write(dir.join("tasks"), "0")?;
            }
        }
        Ok(())
    }

    /// Everything in them, as the machine counts.
    pub(super) fn members(&self) -> Vec<i32> {
        let Some((dir, _)) = self.dirs().into_iter().next() else {
            return Vec::new();
        };
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// How many of their processes the kernel killed for memory so far.
    pub(super) fn memory_kills(&self) -> u64 {
        self.memory
            .as_ref()
            .and_then(|place| {
                place.field(
                    ("memory.oom_control", "oom_kill"),
                    ("memory.events", "oom_kill"),
                )
            })
            .unwrap_or(0)
    }

    /// CPU time used, in nanoseconds.
    pub(super) fn cpu_nanos(&self) -> Option<u64> {
        let place = self.cpu_time.as_ref()?;
        if place.v2 {
            return place
                .field(("", ""), ("cpu.stat", "usage_usec"))
                .map(|micros| micros * 1_000);
        }
        place.number("cpuacct.usage", "")
    }

    /// Memory in use, without the file cache that the kernel takes back first.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        let used = place.number("memory.usage_in_bytes", "memory.current")?;
        let idle = place.field(
            ("memory.stat", "total_inactive_file"),
            ("memory.stat", "inactive_file"),
        );
        Some(used.saturating_sub(idle.unwrap_or(0)))
    }

    /// Removes them, once nothing is in them; waits for the last to leave, at most `patience`.
    pub(super) fn remove(&self, patience: Duration) -> bool {
        const PAUSE: Duration = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        loop {
            let left = self
                .dirs()
                .into_iter()
                .filter(|(dir, _)| fs::remove_dir(dir).is_err() && dir.exists())
                .count();
            if left == 0 || waited >= patience {
                return left == 0;
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
    }
}

/// Writes to a file that may not be there, without making one.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    //! A directory stands for the cgroup file system: names and formats of the files are what is tested, for both versions.

    use super::*;

    fn controllers(base: &Path, v2: bool) -> Controllers {
        let at = |name: &str| {
            let base = if v2 { base.to_owned() } else { base.join(name) };
            Some(Controller { base, v2 })
        };
        Controllers {
            memory: at("memory"),
            cpu: at("cpu"),
            cpu_time: at("cpuacct"),
            pids: at("pids"),
        }
    }

    const LIMITS: Limits = Limits {
        memory_bytes: 1 << 20,
        cpu_millicores: 250,
        pids_max: 7,
        background: true,
    };

    fn content(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn version_2_has_one_directory_and_its_own_names() {
        let base = tempfile::tempdir().unwrap();
        let groups = Cgroups::of(&controllers(base.path(), true), "p");
        groups.create(LIMITS).unwrap();
        groups.enter(42, true, false).unwrap();
        assert!(groups.members().is_empty());
        groups.enter(42, false, true).unwrap();
        let dir = base.path().join("p");
        assert_eq!(content(dir.join("memory.max")), "1048576");
        assert_eq!(content(dir.join("cpu.max")), "25000 100000");
        assert_eq!(content(dir.join("cpu.weight")), "10");
        assert_eq!(content(dir.join("pids.max")), "7");
        assert_eq!(groups.members(), [42]);
        fs::write(
            dir.join("memory.events"),
            "low 0\noom 3\noom_kill 2\noom_group_kill 1\n",
        )
        .unwrap();
        fs::write(dir.join("cpu.stat"), "usage_usec 15\nuser_usec 9\n").unwrap();
        fs::write(dir.join("memory.current"), "1000\n").unwrap();
        fs::write(dir.join("memory.stat"), "anon 1\ninactive_file 400\n").unwrap();
        assert_eq!(
            (
                groups.memory_kills(),
                groups.cpu_nanos(),
                groups.memory_bytes()
            ),
            (2, Some(15_000), Some(600))
        );
    }

    #[test]
    fn version_1_has_a_directory_per_controller() {
        let base = tempfile::tempdir().unwrap();
        let groups = Cgroups::of(&controllers(base.path(), false), "p");
        groups.create(LIMITS).unwrap();
        groups.enter(42, true, true).unwrap();
        groups.enter_self().unwrap();
        assert_eq!(
            content(base.path().join("memory/p/memory.limit_in_bytes")),
            "1048576"
        );
        assert_eq!(content(base.path().join("cpu/p/cpu.cfs_quota_us")), "25000");
        assert_eq!(content(base.path().join("cpu/p/cpu.shares")), "102");
        assert_eq!(content(base.path().join("pids/p/pids.max")), "7");
        for name in ["memory", "cpu", "cpuacct", "pids"] {
            assert_eq!(content(base.path().join(name).join("p/cgroup.procs")), "42");
        }
        fs::write(
            base.path().join("memory/p/memory.oom_control"),
            "under_oom 0\noom_kill 1\n",
        )
        .unwrap();
        fs::write(base.path().join("cpuacct/p/cpuacct.usage"), "77\n").unwrap();
        assert_eq!((groups.memory_kills(), groups.cpu_nanos()), (1, Some(77)));
    }
}
