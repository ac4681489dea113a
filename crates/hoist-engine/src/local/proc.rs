//! What `/proc` says: which processes belong together, where they listen, what they use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    zombie: bool,
    parent: i32,
    session: i32,
    ticks: u64,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
    };
    let signed = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<i32>().ok())
    };
    Some(Stat {
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        parent: signed(1)?,
        session: signed(3)?,
        ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

/// Whether a process is there and not only waiting to be reaped.
pub(super) fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| !stat.zombie)
}

/// When a process started, in ticks since the machine did; with its number it names a process for ever.
pub(super) fn started(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.started)
}

/// Whether a signal would do to a process what it does by default: not caught, not ignored, not held back.
pub(super) fn leaves_to_default(pid: i32, signal: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let mask = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let masks = ["SigBlk:", "SigIgn:", "SigCgt:"].map(mask);
    masks
        .iter()
        .all(|mask| mask.is_some_and(|mask| mask & (1 << (signal - 1)) == 0))
}

fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Everything in the pid namespace of `leader`.
pub(super) fn in_namespace_of(leader: i32) -> Vec<i32> {
    let namespace = |pid: i32| {
        fs::metadata(format!("/proc/{pid}/ns/pid"))
            .ok()
            .map(|meta| meta.ino())
    };
    let Some(wanted) = namespace(leader) else {
        return Vec::new();
    };
    all()
        .into_iter()
        .filter(|pid| namespace(*pid) == Some(wanted))
        .collect()
}

/// Everything that descends from a process, without itself.
pub(super) fn descendants_of(ancestor: i32) -> Vec<i32> {
    let parents: BTreeMap<i32, i32> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let descends = |pid: &i32| {
        let mut pid = *pid;
        // A chain of parents is never longer than the list; the count guards against a list that changed meanwhile.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(parent) if *parent == ancestor => return true,
                Some(parent) if *parent > 1 => pid = *parent,
                _ => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(descends).collect()
}

/// Those of some processes that another one started, or adopted.
pub(super) fn children_among(parent: i32, pids: &[i32]) -> Vec<i32> {
    let is_child = |pid: &i32| stat(*pid).is_some_and(|stat| stat.parent == parent);
    pids.iter().copied().filter(is_child).collect()
}

/// Everything in a session: what can still be found of a process without a namespace when its supervisor is gone.
pub(super) fn in_session_of(leader: i32) -> Vec<i32> {
    all()
        .into_iter()
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.session == leader))
        .collect()
}

/// The TCP ports that these processes listen on, in order.
pub(super) fn listening(pids: &[i32]) -> Vec<u16> {
    let mut sockets = BTreeSet::new();
    for pid in pids {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else {
                continue;
            };
            sockets.extend(socket_number(&target));
        }
    }
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        ports.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| listener(line, &sockets)),
        );
    }
    ports.into_iter().collect()
}

fn socket_number(target: &Path) -> Option<u64> {
    target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The port of a line of `/proc/net/tcp`, when it listens and is one of ours.
fn listener(line: &str, ours: &BTreeSet<u64>) -> Option<u16> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN || !ours.contains(&inode.parse().ok()?) {
        return None;
    }
    u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
}

/// CPU time in nanoseconds and resident memory in bytes of these processes together.
pub(super) fn usage(pids: &[i32]) -> (u64, u64) {
    const TICK_NANOS: u64 = 10_000_000;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page
        .ok()
        .flatten()
        .map_or(4_096, |page| page.unsigned_abs());
    let (mut cpu, mut memory) = (0, 0);
    for pid in pids {
        cpu += stat(*pid).map_or(0, |stat| stat.ticks * TICK_NANOS);
        let pages = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let resident = pages
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        memory += resident.unwrap_or(0) * page;
    }
    (cpu, memory)
}

/// Memory in bytes that new processes may take.
pub(super) fn memory_free() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listener_is_found_and_another_socket_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let six = std::net::TcpListener::bind("[::1]:0").ok();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let me = std::process::id() as i32;
        let found = super::listening(&[me]);
        assert!(found.contains(&port), "{found:?}");
        assert!(!found.contains(&client.local_addr().unwrap().port()));
        if let Some(six) = six {
            assert!(found.contains(&six.local_addr().unwrap().port()));
        }
    }

    #[test]
    fn this_process_lives_and_belongs_to_its_family() {
        let me = std::process::id() as i32;
        assert!(lives(me) && started(me).is_some());
        assert!(descendants_of(nix::unistd::getppid().as_raw()).contains(&me));
        assert!(in_namespace_of(me).contains(&me));
        assert!(usage(&[me]).1 > 0);
        // The standard library ignores the one and leaves the other alone.
        assert!(!leaves_to_default(
            me,
            nix::sys::signal::Signal::SIGPIPE as u32
        ));
        assert!(leaves_to_default(
            me,
            nix::sys::signal::Signal::SIGUSR2 as u32
        ));
    }
}
