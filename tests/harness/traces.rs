//! What a rack leaves on the machine: processes, cgroups, mounts. Looked up from outside, by the data directory alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A process of the engine as its state directory tells.
#[derive(Debug, Clone)]
pub struct Held {
    /// Twelve hex digits.
    pub process: String,
    /// Its directory's name, `app~service~attempt~slot`.
    pub name: String,
    /// Its supervisor.
    pub shim: Option<i32>,
    /// The process itself.
    pub pid: Option<i32>,
}

/// All processes of workloads that there are state directories of.
pub fn held(data: &Path) -> Vec<Held> {
    let entries = fs::read_dir(data.join("engine/slots"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path().join("state.json")).ok()?;
            let state: Value = serde_json::from_str(&state).ok()?;
            let number = |key: &str| state[key].as_i64().map(|number| number as i32);
            Some(Held {
                process: state["process"].as_str()?.to_owned(),
                name: entry.file_name().to_string_lossy().into_owned(),
                shim: number("shim"),
                pid: number("pid"),
            })
        })
        .collect()
}

/// Every living process of a data directory: supervisors, what they supervise, and the router.
pub fn living(data: &Path) -> BTreeSet<i32> {
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    let pids = || {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
    };
    let mut found: BTreeSet<i32> = pids().filter(|pid| belongs(*pid, &data)).collect();
    // Descendants: apps see a root of their own, so nothing but their parent tells whose they are.
    loop {
        let more: Vec<i32> = pids()
            .filter(|pid| !found.contains(pid))
            .filter(|pid| parent(*pid).is_some_and(|parent| found.contains(&parent)))
            .collect();
        if more.is_empty() {
            return found.into_iter().filter(|pid| lives(*pid)).collect();
        }
        found.extend(more);
    }
}

/// A supervisor works in its state directory; a router names its directory; an app's cgroup is named as its process.
fn belongs(pid: i32, data: &Path) -> bool {
    let works_there = fs::read_link(format!("/proc/{pid}/cwd"))
        .is_ok_and(|cwd| cwd.starts_with(data.join("engine")));
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let router = data.join("router");
    let routes = words.get(1) == Some(&b"router".as_slice())
        && words
            .iter()
            .any(|word| *word == router.as_os_str().as_encoded_bytes());
    works_there || routes
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The living children of a process.
pub fn children(of: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(of) && lives(*pid))
        .collect()
}

fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| {
        fields
            .first()
            .is_some_and(|state| state != "Z" && state != "X")
    })
}

/// The fields of `/proc/PID/stat` behind the name.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(
        text.rsplit_once(')')?
            .1
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    )
}

/// Ids of all processes that ever said something or ran, from the names of their logs.
pub fn ever(data: &Path) -> BTreeSet<String> {
    let apps = fs::read_dir(data.join("apps"))
        .into_iter()
        .flatten()
        .flatten();
    let logs = apps.flat_map(|app| {
        fs::read_dir(app.path().join("logs"))
            .into_iter()
            .flatten()
            .flatten()
    });
    logs.filter_map(|log| {
        let name = log.file_name().to_string_lossy().into_owned();
        Some(name.strip_suffix(".log")?.rsplit('.').next()?.to_owned())
    })
    .filter(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    .collect()
}

/// Directories of cgroups that are named as one of these processes.
pub fn cgroups(ids: &BTreeSet<String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 0, ids, &mut found);
    found
}

fn walk(dir: &Path, depth: usize, ids: &BTreeSet<String>, found: &mut Vec<PathBuf>) {
    const DEEPEST: usize = 6;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if ids.contains(entry.file_name().to_string_lossy().as_ref()) {
            found.push(entry.path());
        } else if depth < DEEPEST {
            walk(&entry.path(), depth + 1, ids, found);
        }
    }
}

/// Mounts of this namespace below a directory.
pub fn mounts(data: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = format!("{}/", data.display());
    text.lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|place| place.starts_with(&below))
        .map(str::to_owned)
        .collect()
}

/// Whatever is there of a data directory whose rack and apps are stopped: should be nothing.
pub fn left_by(data: &Path) -> Vec<String> {
    let mut left: Vec<String> = living(data)
        .into_iter()
        .map(|pid| format!("process {pid}: {}", line_of(pid)))
        .collect();
    left.extend(
        held(data)
            .into_iter()
            .map(|held| format!("state directory {}", held.name)),
    );
    left.extend(
        cgroups(&ever(data))
            .into_iter()
            .map(|dir| format!("cgroup {}", dir.display())),
    );
    left.extend(
        mounts(data)
            .into_iter()
            .map(|place| format!("mount {place}")),
    );
    left
}

/// What nobody of the rack knows: `known` are the processes it shows. Should be nothing.
pub fn strays(data: &Path, known: &BTreeSet<String>) -> Vec<String> {
    let held = held(data);
    let mut strays: Vec<String> = held
        .iter()
        .filter(|held| !known.contains(&held.process))
        .map(|held| {
            format!(
                "the rack does not know process {} ({})",
                held.process, held.name
            )
        })
        .collect();
    let gone: BTreeSet<String> = ever(data).difference(known).cloned().collect();
    strays.extend(
        cgroups(&gone)
            .into_iter()
            .map(|dir| format!("left over: cgroup {}", dir.display())),
    );
    let mut expected: BTreeSet<i32> = held
        .iter()
        .flat_map(|held| [held.shim, held.pid])
        .flatten()
        .collect();
    expected.extend(router(data));
    // Children of known processes are theirs.
    let orphan = |pid: &i32| {
        !expected.contains(pid) && !parent(*pid).is_some_and(|parent| expected.contains(&parent))
    };
    strays.extend(
        living(data)
            .into_iter()
            .filter(orphan)
            .map(|pid| format!("orphan {pid}: {}", line_of(pid))),
    );
    strays.extend(
        mounts(data)
            .into_iter()
            .map(|place| format!("left over: mount {place}")),
    );
    strays
}

/// The router's process id.
pub fn router(data: &Path) -> Option<i32> {
    let data = fs::canonicalize(data).ok()?;
    living(&data)
        .into_iter()
        .find(|pid| line_of(*pid).contains(" router --dir "))
}

/// A process's command line.
pub fn line_of(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Ends what a failed test left of its own rack, each process by its id.
pub fn kill_left_by(data: &Path) {
    for pid in living(data) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
