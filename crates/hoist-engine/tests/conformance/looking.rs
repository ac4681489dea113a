//! Words for cases: specifications, waiting until something is seen, reading logs.

use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hoist_core::id::{ProcessId, ReleaseId, Slot, SlotId, Version, WorkloadId};
use hoist_core::model::{Exit, Process, ProcessState, TaskStatus};
use hoist_engine::{
    ProcessSpec, RestartPolicy, Secret, Seen, TaskId, TaskSpec, Tree, WorkloadSpec,
};

use super::Bench;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A word that no other process of this machine has in its arguments.
pub(crate) fn token() -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("token-{}-{number}-", std::process::id())
}

pub(crate) fn workload(service: &str, attempt: u64) -> WorkloadId {
    WorkloadId {
        app: "hello".parse().unwrap(),
        service: service.parse().unwrap(),
        attempt: Version {
            epoch: 1,
            number: attempt,
        },
    }
}

pub(crate) fn slot(id: &WorkloadId, slot: Slot) -> SlotId {
    SlotId {
        workload: id.clone(),
        slot,
    }
}

/// A one-off's name, its own in each directory: a process id is one of the whole machine.
pub(crate) fn one_off(dir: &Path, number: u8) -> TaskId {
    let mut hasher = std::hash::DefaultHasher::new();
    dir.hash(&mut hasher);
    let mut bytes = [number; 6];
    bytes[1..].copy_from_slice(&hasher.finish().to_ne_bytes()[..5]);
    TaskId::OneOff("hello".parse().unwrap(), ProcessId::from_random(bytes))
}

pub(crate) fn process(bench: &dyn Bench, token: &str, script: &str) -> ProcessSpec {
    let slug = bench.dir().join("slug");
    std::fs::create_dir_all(&slug).unwrap();
    std::fs::write(slug.join("hello.txt"), "from the slug\n").unwrap();
    ProcessSpec {
        argv: bench.command(token, script),
        env: vec![("APP".into(), Secret::new("hello"))],
        path: Vec::new(),
        tree: Tree::Slug(slug),
        volumes: Vec::new(),
        memory_bytes: 0,
        cpu_millicores: 0,
        pids_max: 0,
        background: false,
        stop_grace: Duration::from_secs(10),
        log_dir: bench.dir().join("logs"),
        log_source: "service/web".into(),
        log_bytes_max: 10 << 20,
    }
}

pub(crate) fn spec(bench: &dyn Bench, id: &WorkloadId, script: &str) -> WorkloadSpec {
    WorkloadSpec {
        id: id.clone(),
        release: ReleaseId::from_random([3; 16]),
        process: process(bench, &token(), script),
        port: true,
        restart: RestartPolicy::Always,
    }
}

pub(crate) fn task(bench: &dyn Bench, id: &TaskId, script: &str) -> TaskSpec {
    TaskSpec {
        id: id.clone(),
        process: process(bench, &token(), script),
        limit: PATIENCE,
    }
}

pub(crate) async fn look(bench: &dyn Bench) -> Seen {
    bench.engine().observe().await.unwrap()
}

/// Looks until the answer is there.
pub(crate) async fn until<T>(
    bench: &dyn Bench,
    what: &str,
    mut answer: impl FnMut(&Seen) -> Option<T>,
) -> T {
    let begin = Instant::now();
    loop {
        let seen = look(bench).await;
        if let Some(answer) = answer(&seen) {
            return answer;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "not seen in time: {what}; seen: {seen:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

pub(crate) fn find<'a>(seen: &'a Seen, slot: &SlotId) -> Option<&'a Process> {
    seen.workloads.get(&slot.workload)?.get(&slot.slot)
}

pub(crate) async fn running(bench: &dyn Bench, slot: &SlotId) -> Process {
    let running = |seen: &Seen| {
        find(seen, slot)
            .filter(|p| p.state == ProcessState::Running)
            .cloned()
    };
    until(bench, "a running process", running).await
}

pub(crate) async fn exited(bench: &dyn Bench, slot: &SlotId) -> (Process, Exit) {
    until(bench, "an exit", |seen| match find(seen, slot)?.state {
        ProcessState::Exited(exit) => Some((find(seen, slot)?.clone(), exit)),
        _ => None,
    })
    .await
}

pub(crate) async fn gone(bench: &dyn Bench, id: &WorkloadId) {
    until(bench, "nothing left of the workload", |seen| {
        (!seen.workloads.contains_key(id)).then_some(())
    })
    .await;
}

pub(crate) async fn ended(bench: &dyn Bench, id: &TaskId) -> Exit {
    until(bench, "the end of a task", |seen| {
        match seen.tasks.get(id)? {
            TaskStatus::Ended(exit) => Some(*exit),
            TaskStatus::Running => None,
        }
    })
    .await
}

pub(crate) fn log_file(bench: &dyn Bench, process: &ProcessId) -> PathBuf {
    bench
        .dir()
        .join("logs")
        .join(format!("service.web.{process}.log"))
}

/// The lines of a process's log, without their times: `o text` or `e text`.
pub(crate) fn log(bench: &dyn Bench, process: &ProcessId) -> Vec<String> {
    let text = std::fs::read(log_file(bench, process)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(time.parse::<u64>().unwrap() > 1_600_000_000_000, "{line}");
            rest.to_owned()
        })
        .collect()
}

/// Waits until the log has a line.
pub(crate) async fn logged(bench: &dyn Bench, process: &ProcessId, line: &str) {
    let begin = Instant::now();
    while !log(bench, process).iter().any(|found| found == line) {
        assert!(
            begin.elapsed() < PATIENCE,
            "{line:?} is not in {:?}",
            log(bench, process)
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until no process has the token.
pub(crate) async fn dead(bench: &dyn Bench, token: &str) {
    let begin = Instant::now();
    while bench.alive(token) {
        assert!(
            begin.elapsed() < PATIENCE,
            "a process outlived its supervisor"
        );
        tokio::time::sleep(PAUSE).await;
    }
}
