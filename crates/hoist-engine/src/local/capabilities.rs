//! What this machine gives: tried once when the engine opens, then used as found and reported as found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::layout::{Layout, SPEC, random_bytes};
use super::record::{self, Controller, Controllers, PROTOCOL, Plan, Spec, TreeRecord};
use super::shim::{Found, PROBE};
use super::{Ceiling, LocalConfig};
use crate::{Capabilities, Isolation};
use hoist_core::id::ProcessId;

/// The directory of ours below each place for cgroups.
const OURS: &str = "hoist";

/// Finds out, at most what the configuration allows.
pub(super) fn find(config: &LocalConfig, layout: &Layout) -> io::Result<Found> {
    let mut found = match config.ceiling {
        Ceiling::Plain => Found {
            other_user: nix::unistd::geteuid().is_root(),
            refused: ["mount", "pid", "ipc", "uts"]
                .map(|kind| (kind.to_owned(), "switched off".to_owned()))
                .into(),
            ..Found::default()
        },
        Ceiling::Everything | Ceiling::NoCgroups => namespaces(config, layout)?,
    };
    if config.ceiling == Ceiling::Everything {
        found.plan.controllers = Hierarchies::of_this_machine()?.controllers();
    }
    found.plan.counted &= found.plan.controllers.pids.is_none();
    if !found.plan.mount {
        found.plan.overlay = false;
    }
    Ok(found)
}

/// Lets the shim try, on a draft of a process.
fn namespaces(config: &LocalConfig, layout: &Layout) -> io::Result<Found> {
    let id = ProcessId::from_random(random_bytes()?);
    let dir = layout.make_new(id.as_str())?;
    fs::create_dir(dir.join("slug"))?;
    let draft = Spec {
        protocol: PROTOCOL,
        process: id.as_str().to_owned(),
        // Writing shows that the layer belongs to the user, reading that the programs can be reached.
        argv: ["/bin/sh", "-c", "echo > written && test -e written"]
            .map(str::to_owned)
            .into(),
        tree: TreeRecord::Slug(std::path::absolute(dir.join("slug"))?),
        volumes: Vec::new(),
        read_only: Vec::new(),
        uid: nix::unistd::geteuid().is_root().then_some(config.first_uid),
        memory_bytes: 0,
        cpu_millicores: 0,
        pids_max: 0,
        background: false,
        grace_ms: 0,
        limit_ms: None,
        restart: false,
        log: PathBuf::new(),
        log_bytes_max: 0,
        plan: Plan::default(),
        attached: None,
    };
    record::create(&dir.join(SPEC), &draft)?;
    let output = config
        .shim
        .command(&[PROBE.as_ref(), dir.as_os_str()])
        .stdin(Stdio::null())
        .output()?;
    let _ = layout.discard(&dir);
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!(
            "the supervisor's trial ended with {}: {}",
            output.status,
            said.trim()
        ))
    })
}

/// The cgroup file systems of this machine.
struct Hierarchies {
    /// (controllers, mount point) of version 1.
    v1: Vec<(Vec<String>, PathBuf)>,
    /// The mount point of version 2.
    v2: Option<PathBuf>,
    /// Our own cgroup of version 2, from its mount point.
    own: PathBuf,
}

impl Hierarchies {
    fn of_this_machine() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::parse(
            &mounts,
            &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        ))
    }

    fn parse(mounts: &str, own: &str) -> Self {
        let (mut v1, mut v2) = (Vec::new(), None);
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(at) = left.split(' ').nth(4) else {
                continue;
            };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup") => {
                    let options = right.nth(1).unwrap_or_default();
                    v1.push((
                        options.split(',').map(str::to_owned).collect(),
                        PathBuf::from(at),
                    ));
                }
                Some("cgroup2") => v2 = Some(PathBuf::from(at)),
                _ => {}
            }
        }
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap_or_default();
        Self {
            v1,
            v2,
            own: PathBuf::from(own),
        }
    }

    /// Where each controller can be used, tried by making a cgroup.
    fn controllers(&self) -> Controllers {
        let v2 = self.version_2();
        let find = |name: &str| {
            let v1 = self
                .v1
                .iter()
                .find(|(controllers, _)| controllers.iter().any(|c| c == name));
            let controller = match v1 {
                Some((_, at)) => Controller {
                    base: at.join(OURS),
                    v2: false,
                },
                None => {
                    let (base, enabled) = v2.as_ref()?;
                    enabled.iter().any(|c| c == name).then(|| Controller {
                        base: base.clone(),
                        v2: true,
                    })?
                }
            };
            try_out(&controller).then_some(controller)
        };
        let v2_cpu = |c: &Option<Controller>| c.as_ref().is_some_and(|c| c.v2);
        let cpu = find("cpu");
        let memory = find("memory");
        let pids = find("pids");
        let cpu_time = if v2_cpu(&cpu) {
            cpu.clone()
        } else {
            find("cpuacct")
        };
        Controllers {
            memory,
            cpu,
            cpu_time,
            pids,
        }
    }

    /// Our directory of version 2 and the controllers that its children get.
    fn version_2(&self) -> Option<(PathBuf, Vec<String>)> {
        let mount = self.v2.as_ref()?;
        let parent = if self.delegated(mount) {
            self.make_room(mount)?
        } else {
            mount.clone()
        };
        let base = parent.join(OURS);
        fs::create_dir_all(&base).ok()?;
        for dir in [&parent, &base] {
            for controller in ["memory", "cpu", "pids"] {
                // One by one: a machine without one of them still has the others.
                let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let enabled = fs::read_to_string(base.join("cgroup.subtree_control")).ok()?;
        Some((
            base,
            enabled.split_whitespace().map(str::to_owned).collect(),
        ))
    }

    /// Whether our own cgroup is ours to divide: a service that systemd delegates, or one that we own as another user.
    fn delegated(&self, mount: &Path) -> bool {
        let is_service = self
            .own
            .extension()
            .is_some_and(|extension| extension == "service");
        let own = mount.join(&self.own);
        let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        is_service
            && controllers.split_whitespace().any(|name| name == "memory")
            && nix::unistd::access(
                &own.join("cgroup.subtree_control"),
                nix::unistd::AccessFlags::W_OK,
            )
            .is_ok()
    }

    /// Moves us into a leaf, because only a cgroup without processes can give controllers to its children.
    fn make_room(&self, mount: &Path) -> Option<PathBuf> {
        let own = mount.join(&self.own);
        let leaf = own.join("rack");
        fs::create_dir_all(&leaf).ok()?;
        for pid in fs::read_to_string(own.join("cgroup.procs")).ok()?.lines() {
            let _ = fs::write(leaf.join("cgroup.procs"), pid);
        }
        Some(own)
    }
}

/// Whether a cgroup can be made there and entered.
fn try_out(controller: &Controller) -> bool {
    let dir = controller
        .base
        .join(format!("probe-{}", std::process::id()));
    let made = fs::create_dir_all(&dir).is_ok();
    let works = made
        && nix::unistd::access(&dir.join("cgroup.procs"), nix::unistd::AccessFlags::W_OK).is_ok();
    let _ = fs::remove_dir(&dir);
    works
}

/// Puts what was found into words for `hoist doctor`.
pub(super) fn describe(found: &Found, config: &LocalConfig) -> Capabilities {
    let plan = &found.plan;
    let reason = |kind: &str| {
        let found = found.refused.iter().find(|(refused, _)| refused == kind);
        found.map_or_else(
            || "not given by this machine".to_owned(),
            |(_, why)| why.clone(),
        )
    };
    let namespace = |kind: &'static str, present: bool| Isolation {
        kind,
        present,
        by: match (present, plan.user) {
            (true, true) => "namespace, within a user namespace".to_owned(),
            (true, false) => "namespace".to_owned(),
            (false, _) => reason(kind),
        },
    };
    let controller = |kind: &'static str, controller: &Option<Controller>| Isolation {
        kind,
        present: controller.is_some(),
        by: match controller {
            Some(Controller { base, v2 }) => {
                format!("cgroup v{} at {}", if *v2 { 2 } else { 1 }, base.display())
            }
            None if config.ceiling != Ceiling::Everything => "switched off".to_owned(),
            None => "no cgroup that we may write to".to_owned(),
        },
    };
    let pids = match controller("pids", &plan.controllers.pids) {
        Isolation { kind, .. } if plan.counted => Isolation {
            kind,
            present: true,
            by: "counted by the user namespace".to_owned(),
        },
        found => found,
    };
    let user = Isolation {
        kind: "user",
        present: found.other_user,
        by: match (found.other_user, plan.user) {
            (true, _) => format!("a user per app, from {}", config.first_uid),
            (false, true) => {
                "all apps run as the rack's user, without rights in a user namespace".to_owned()
            }
            (false, false) => "all apps run as the rack's user".to_owned(),
        },
    };
    let layer = Isolation {
        kind: "layer",
        present: true,
        by: if plan.overlay {
            "overlay".to_owned()
        } else {
            format!("a copy per process: {}", reason("layer"))
        },
    };
    let network = "local apps share the machine's network".to_owned();
    Capabilities {
        engine: "local",
        survives_rack_restart: true,
        isolation: vec![
            namespace("mount", plan.mount),
            namespace("pid", plan.pid && (plan.own_proc || !plan.mount)),
            namespace("ipc", plan.ipc),
            namespace("uts", plan.uts),
            user,
            controller("memory", &plan.controllers.memory),
            controller("cpu", &plan.controllers.cpu),
            pids,
            layer,
            Isolation {
                kind: "network",
                present: false,
                by: network,
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_machine_are_told_apart() {
        let mounts = "\
            30 23 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(mounts, "4:memory:/x\n0::/system.slice/hoist.service\n");
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(found.own, PathBuf::from("system.slice/hoist.service"));
        let place = |name: &str| {
            let has =
                |(controllers, _): &&(Vec<String>, PathBuf)| controllers.iter().any(|c| c == name);
            found.v1.iter().find(has).map(|(_, at)| at.as_path())
        };
        assert_eq!(place("memory"), Some(Path::new("/sys/fs/cgroup/memory")));
        assert_eq!(
            place("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(place("pids"), None);
    }
}
