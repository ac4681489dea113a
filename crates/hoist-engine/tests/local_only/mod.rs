//! What only the local engine has: files on the disk, users, the way to stop everything without a rack.

pub(crate) mod attached;

use std::fs;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hoist_core::id::Version;

use hoist_engine::local::{Ceiling, state_dir_of, stop_everything};
use hoist_engine::{Engine as _, Secret, TaskId, TaskSpec, Tree, WorkloadSpec};
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use super::LocalBench;
use super::conformance::Bench as _;
use super::conformance::looking::*;

pub(crate) fn all() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "values_of_variables_are_in_no_file",
            values_of_variables_are_in_no_file,
        ),
        trial(
            "a_directory_that_was_never_executed_is_made_again",
            a_directory_that_was_never_executed_is_made_again,
        ),
        trial(
            "half_made_and_half_gone_directories_are_cleared",
            half_made_and_half_gone_directories_are_cleared,
        ),
        trial(
            "everything_stops_without_a_rack",
            everything_stops_without_a_rack,
        ),
        trial(
            "reserved_ports_are_never_given",
            reserved_ports_are_never_given,
        ),
        trial("usage_is_measured", usage_is_measured),
        trial(
            "a_build_cannot_take_all_memory_without_cgroups",
            a_build_cannot_take_all_memory_without_cgroups,
        ),
        trial("capabilities_name_every_kind", capabilities_name_every_kind),
        trial(
            "nothing_is_left_of_a_removed_process",
            nothing_is_left_of_a_removed_process,
        ),
        trial(
            "a_deep_data_directory_is_no_obstacle",
            a_deep_data_directory_is_no_obstacle,
        ),
        trial(
            "a_rack_killed_at_any_moment_loses_nothing",
            a_rack_killed_at_any_moment_loses_nothing,
        ),
        trial(
            "a_nursery_that_was_killed_is_replaced",
            a_nursery_that_was_killed_is_replaced,
        ),
    ];
    trials.extend(attached::all());
    if nix::unistd::geteuid().is_root() {
        let name = "a_full_disk_costs_lines_and_not_the_process";
        trials.push(trial(name, a_full_disk_costs_lines_and_not_the_process));
    }
    trials
}

fn trial<F: Future<Output = ()> + 'static>(name: &str, case: fn(LocalBench) -> F) -> Trial {
    Trial::test(format!("local-only::{name}"), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async { case(LocalBench::with(Ceiling::Everything)).await });
        runtime.shutdown_background();
        Ok(())
    })
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    // An overlay keeps one directory that nobody may read.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files_below(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

async fn values_of_variables_are_in_no_file(bench: LocalBench) {
    let id = workload("web", 1);
    let mut spec = spec(&bench, &id, "say up; idle");
    spec.process.env = vec![("KEY".into(), Secret::new("correct-horse-battery"))];
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(&bench, &slot(&id, 1)).await;
    logged(&bench, &process.id, "o up").await;
    let files = files_below(&bench.data_dir());
    assert!(files.iter().any(|file| file.ends_with("spec.json")));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("correct-horse-battery"),
            "{}",
            file.display()
        );
    }
}

/// A rack that crashed between naming the directory and starting the shim.
async fn a_directory_that_was_never_executed_is_made_again(mut bench: LocalBench) {
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let first = running(&bench, &slot(&id, 1)).await;
    let dir = state_dir_of(&bench.data_dir(), &slot(&id, 1));
    let state = fs::read_to_string(dir.join("state.json"))
        .unwrap()
        .replace("\"running\"", "\"made\"");
    bench.engine().remove(&id).await.unwrap();
    gone(&bench, &id).await;
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("state.json"), &state).unwrap();
    bench.reopen();
    assert!(look(&bench).await.workloads.is_empty());
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("state.json"), &state).unwrap();
    bench.engine().apply(&spec, 1).await.unwrap();
    let second = running(&bench, &slot(&id, 1)).await;
    assert_ne!(first.id, second.id);
    assert_eq!(second.restarts, 0);
}

async fn half_made_and_half_gone_directories_are_cleared(mut bench: LocalBench) {
    let engine = bench.data_dir().join("engine");
    for place in [
        "new/0123456789ab/layer",
        "trash/0123456789ab/layer/work/work",
    ] {
        fs::create_dir_all(engine.join(place)).unwrap();
    }
    bench.reopen();
    for place in ["new", "trash"] {
        assert_eq!(
            fs::read_dir(engine.join(place)).unwrap().count(),
            0,
            "{place}"
        );
    }
}

async fn everything_stops_without_a_rack(mut bench: LocalBench) {
    let id = workload("web", 1);
    let mut spec = spec(&bench, &id, "");
    let token = token();
    spec.process.argv = bench.command(&token, "say up; idle");
    bench.engine().apply(&spec, 3).await.unwrap();
    for number in 1..=3 {
        let process = running(&bench, &slot(&id, number)).await;
        logged(&bench, &process.id, "o up").await;
    }
    bench.engine = None;
    let data_dir = bench.data_dir();
    let stopped = tokio::task::spawn_blocking(move || stop_everything(&data_dir))
        .await
        .unwrap();
    assert_eq!(stopped.unwrap(), 3);
    assert!(!bench.alive(&token));
    bench.reopen();
    assert!(look(&bench).await.workloads.is_empty());
}

async fn reserved_ports_are_never_given(mut bench: LocalBench) {
    const FIRST: u16 = 31_500;
    bench.reserved_ports = (20_000..FIRST).collect();
    bench.reopen();
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "idle");
    bench.engine().apply(&spec, 5).await.unwrap();
    for number in 1..=5 {
        let port = running(&bench, &slot(&id, number))
            .await
            .address
            .unwrap()
            .port();
        assert!((FIRST..32_000).contains(&port), "{port}");
    }
    bench.reserved_ports = (20_000..32_000).collect();
    bench.reopen();
    let error = bench.engine().apply(&spec, 6).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert_eq!(look(&bench).await.workloads[&id].len(), 5);
}

async fn a_build_cannot_take_all_memory_without_cgroups(bench: LocalBench) {
    drop(bench);
    let bench = LocalBench::with(Ceiling::NoCgroups);
    let id = TaskId::ReleaseCommand(
        "hello".parse().unwrap(),
        Version {
            epoch: 1,
            number: 1,
        },
    );
    let mut spec = task(&bench, &id, "say hungry; eat");
    spec.process.memory_bytes = 256 << 20;
    spec.process.background = true;
    bench.engine().run(&spec).await.unwrap();
    let exit = ended(&bench, &id).await;
    // Memory is refused, and the program ends by that: nobody kills it.
    let signal = exit.signal.unwrap();
    assert!(
        [Signal::SIGABRT as i32, Signal::SIGSEGV as i32].contains(&signal),
        "{exit:?}"
    );
}

async fn usage_is_measured(bench: LocalBench) {
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "work 50; say up; idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let process = running(&bench, &slot(&id, 1)).await;
    logged(&bench, &process.id, "o up").await;
    let usage = bench.engine.as_ref().unwrap().usage().await.unwrap()[&slot(&id, 1)];
    assert!(usage.cpu_nanos > 1_000_000, "{usage:?}");
    assert!(
        (100_000..1_000_000_000).contains(&usage.memory_bytes),
        "{usage:?}"
    );
}

async fn capabilities_name_every_kind(bench: LocalBench) {
    let engine = bench.engine();
    let kinds: Vec<&str> = engine
        .capabilities()
        .isolation
        .iter()
        .map(|isolation| isolation.kind)
        .collect();
    for kind in [
        "pid", "mount", "ipc", "uts", "user", "memory", "cpu", "pids", "network",
    ] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert!(
        engine
            .capabilities()
            .isolation
            .iter()
            .all(|isolation| !isolation.by.is_empty())
    );
}

async fn nothing_is_left_of_a_removed_process(bench: LocalBench) {
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "write kept.txt x; say up; idle");
    bench.engine().apply(&spec, 2).await.unwrap();
    let process = running(&bench, &slot(&id, 2)).await;
    logged(&bench, &process.id, "o up").await;
    bench.engine().remove(&id).await.unwrap();
    gone(&bench, &id).await;
    let engine = bench.data_dir().join("engine");
    for place in ["slots", "new", "trash"] {
        assert_eq!(
            fs::read_dir(engine.join(place)).unwrap().count(),
            0,
            "{place}"
        );
    }
    for isolation in &bench.engine().capabilities().isolation {
        let Some((_, base)) = isolation.by.split_once(" at ") else {
            continue;
        };
        assert!(
            !Path::new(base).join(process.id.as_str()).exists(),
            "{base}"
        );
    }
    assert!(log_file(&bench, &process.id).exists());
}

/// A socket's path has room for 107 bytes.
async fn a_deep_data_directory_is_no_obstacle(mut bench: LocalBench) {
    let deep = bench.dir().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    bench.deep = Some(deep);
    bench.reopen();
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "say up; idle");
    let hints = bench.engine().hints();
    bench.engine().apply(&spec, 1).await.unwrap();
    hints.notified().await;
    let process = running(&bench, &slot(&id, 1)).await;
    logged(&bench, &process.id, "o up").await;
    let argv = bench.command(&token(), "exit 4");
    assert_eq!(
        bench
            .engine()
            .check(&slot(&id, 1), &argv, PATIENCE)
            .await
            .unwrap(),
        4
    );
    bench.engine().remove(&id).await.unwrap();
    gone(&bench, &id).await;
}

/// A small disk that goes whatever happens.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

/// Mounting a small disk takes root.
async fn a_full_disk_costs_lines_and_not_the_process(bench: LocalBench) {
    let id = workload("web", 1);
    let mut spec = spec(
        &bench,
        &id,
        "flood 30000; wait 3000; say room again; exit 6",
    );
    spec.restart = hoist_engine::RestartPolicy::Never;
    let logs = bench.dir().join("logs");
    fs::create_dir_all(&logs).unwrap();
    mount(
        Some("tmpfs"),
        &logs,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=200k"),
    )
    .unwrap();
    let _mounted = Mounted(&logs);
    let ballast = logs.join("ballast");
    fs::write(&ballast, vec![0; 100 << 10]).unwrap();
    bench.engine().apply(&spec, 1).await.unwrap();
    let begin = Instant::now();
    while statvfs(&logs).unwrap().blocks_available() > 0 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // For the lines that find no room.
    tokio::time::sleep(Duration::from_millis(700)).await;
    fs::remove_file(&ballast).unwrap();
    let (process, exit) = exited(&bench, &slot(&id, 1)).await;
    let lines = log(&bench, &process.id);
    assert_eq!(exit.code, 6);
    assert_eq!(lines.last().unwrap(), "o room again");
    // What is missing is said where it is missing, and no line is cut.
    let (mut next, mut lost) = (0, 0);
    for line in &lines[..lines.len() - 1] {
        if let Some(number) = line.strip_prefix("o ") {
            assert_eq!(number.parse::<u64>().unwrap(), next);
            next += 1;
        } else {
            let words = line.strip_prefix("e hoist: ").unwrap();
            let count: u64 = words
                .strip_suffix(" lines lost: no room for the log")
                .unwrap()
                .parse()
                .unwrap();
            next += count;
            lost += count;
        }
    }
    assert_eq!(next, 30_000);
    assert!((10_000..29_000).contains(&lost), "{lost}");
}

/// The other program of the next case: a rack that holds five processes and runs a task, until it is killed.
pub(crate) fn rack(dir: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut bench = LocalBench::closed(Ceiling::Everything);
        bench.deep = Some(dir.join("data"));
        bench.reopen();
        let token = dir.file_name().unwrap().to_str().unwrap();
        let (workload, task) = crash_specs(&bench, dir, token);
        println!("open");
        bench.engine().run(&task).await.unwrap();
        bench.engine().apply(&workload, 5).await.unwrap();
        std::future::pending::<()>().await;
    });
    unreachable!("killed before")
}

fn crash_specs(bench: &LocalBench, dir: &Path, token: &str) -> (WorkloadSpec, TaskSpec) {
    let mut workload = spec(bench, &workload("web", 1), "");
    workload.process.argv = bench.command(token, "idle");
    workload.process.tree = Tree::Slug(dir.join("slug"));
    workload.process.log_dir = dir.join("logs");
    let id = TaskId::ReleaseCommand(
        "hello".parse().unwrap(),
        Version {
            epoch: 1,
            number: 1,
        },
    );
    let mut task = task(bench, &id, "");
    task.process = workload.process.clone();
    task.process.argv = bench.command("task", "say ran");
    task.process.log_source = "task".into();
    (workload, task)
}

async fn a_rack_killed_at_any_moment_loses_nothing(mut bench: LocalBench) {
    const ROUNDS: u64 = 12;
    for round in 0..ROUNDS {
        let dir = bench.dir().join(token());
        let token = dir.file_name().unwrap().to_str().unwrap().to_owned();
        fs::create_dir_all(dir.join("slug")).unwrap();
        let me = std::env::current_exe().unwrap();
        let rack = Command::new(me)
            .arg("rack")
            .arg(&dir)
            .env("TMPDIR", bench.dir())
            .stdout(Stdio::piped())
            .spawn();
        let mut rack = rack.unwrap();
        let mut line = String::new();
        BufReader::new(rack.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        // From before the first directory is made until after the last shim has started.
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        rack.kill().unwrap();
        rack.wait().unwrap();

        bench.engine = None;
        bench.deep = Some(dir.join("data"));
        bench.reopen();
        let (workload, task) = crash_specs(&bench, &dir, &token);
        bench.engine().run(&task).await.unwrap();
        bench.engine().apply(&workload, 5).await.unwrap();
        assert_eq!(ended(&bench, &task.id).await.code, 0);
        for number in 1..=5 {
            running(&bench, &slot(&workload.id, number)).await;
        }
        let begin = Instant::now();
        while bench.count(&token) != 5 {
            assert!(
                begin.elapsed() < PATIENCE,
                "{} processes in round {round}",
                bench.count(&token)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let logs = fs::read_dir(dir.join("logs")).unwrap().flatten();
        let task_logs = logs.filter(|log| log.file_name().to_str().unwrap().starts_with("task."));
        let runs: usize = task_logs
            .map(|log| fs::read_to_string(log.path()).unwrap().lines().count())
            .sum();
        assert_eq!(runs, 1, "round {round}: the task did not run once");
        bench.engine().remove(&workload.id).await.unwrap();
        gone(&bench, &workload.id).await;
        assert_eq!(bench.count(&token), 0, "round {round}");
    }
}

async fn a_nursery_that_was_killed_is_replaced(bench: LocalBench) {
    let id = workload("web", 1);
    let spec = spec(&bench, &id, "idle");
    bench.engine().apply(&spec, 1).await.unwrap();
    let first = running(&bench, &slot(&id, 1)).await;
    let me = std::process::id();
    let children = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    let all = fs::read_dir("/proc/self/task").unwrap().flatten();
    let all: String = all
        .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default())
        .collect();
    let nurseries: Vec<i32> = (children + " " + &all)
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter(|pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name == "hoist-nursery\n")
        })
        .collect();
    assert!(!nurseries.is_empty());
    for pid in nurseries {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    bench.engine().apply(&spec, 2).await.unwrap();
    running(&bench, &slot(&id, 2)).await;
    assert_eq!(running(&bench, &slot(&id, 1)).await, first);
}
