//! Weighs the local engine: how fast a process starts, and what its shim costs.
//!
//! `cargo run -p hoist-engine --example weigh -- [processes] [program whose shim is weighed]`
#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hoist_core::id::{ReleaseId, Version, WorkloadId};
use hoist_engine::local::{LocalConfig, LocalEngine, shim_main, stop_everything};
use hoist_engine::{Engine as _, ProcessSpec, RestartPolicy, Tree, WorkloadSpec};

fn main() {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    if first.as_ref().is_some_and(|word| word == "shim") {
        shim_main(args);
    }
    let count = first
        .and_then(|word| word.to_str()?.parse().ok())
        .unwrap_or(20);
    let me = std::env::current_exe().unwrap();
    let program = args
        .next()
        .map_or(me, |program| std::fs::canonicalize(program).unwrap());
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(weigh(count, program));
}

async fn weigh(count: u16, program: PathBuf) {
    let dir = std::env::temp_dir().join(format!("hoist-weigh-{}", std::process::id()));
    let slug = dir.join("slug");
    std::fs::create_dir_all(&slug).unwrap();
    let mut config = LocalConfig::new(dir.join("data"));
    config.shim.program = program.clone();
    let begin = Instant::now();
    let engine = LocalEngine::open(config).unwrap();
    println!("open: {:?}", begin.elapsed());
    let mut times: Vec<(Duration, Duration)> = Vec::new();
    for number in 1..=count {
        let begin = Instant::now();
        engine
            .apply(&spec(&dir, u64::from(number)), 1)
            .await
            .unwrap();
        let accepted = begin.elapsed();
        let log = dir.join(format!("logs-{number}"));
        while std::fs::read_dir(&log).unwrap().count() == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        times.push((accepted, begin.elapsed()));
    }
    times.sort();
    let (accepted, spoke) = times[times.len() / 2];
    println!(
        "start, median of {count}: accepted after {accepted:?}, first line logged after {spoke:?}"
    );
    let begin = Instant::now();
    let seen = engine.observe().await.unwrap();
    println!(
        "observe {} workloads: {:?}",
        seen.workloads.len(),
        begin.elapsed()
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pss = shims(&program)
        .into_iter()
        .map(|pid| smaps(pid, "Pss:"))
        .collect::<Vec<u64>>();
    let private = shims(&program)
        .into_iter()
        .map(|pid| smaps(pid, "Private_Dirty:"))
        .sum::<u64>();
    let sum: u64 = pss.iter().sum();
    let shims = pss.len() as u64;
    println!(
        "{shims} shims: {} kB PSS each, of it {} kB private",
        sum / shims,
        private / shims
    );
    let data = dir.join("data");
    tokio::task::spawn_blocking(move || stop_everything(&data))
        .await
        .unwrap()
        .unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

fn spec(dir: &Path, number: u64) -> WorkloadSpec {
    WorkloadSpec {
        id: WorkloadId {
            app: "weigh".parse().unwrap(),
            service: "web".parse().unwrap(),
            attempt: Version { epoch: 1, number },
        },
        release: ReleaseId::from_random([0; 16]),
        process: ProcessSpec {
            argv: ["/bin/sh", "-c", "echo up; exec sleep 1000"]
                .map(str::to_owned)
                .into(),
            env: Vec::new(),
            path: Vec::new(),
            tree: Tree::Slug(dir.join("slug")),
            volumes: Vec::new(),
            memory_bytes: 64 << 20,
            cpu_millicores: 500,
            pids_max: 0,
            background: false,
            stop_grace: Duration::from_secs(5),
            log_dir: dir.join(format!("logs-{number}")),
            log_source: "service/web".into(),
            log_bytes_max: 1 << 20,
        },
        port: true,
        restart: RestartPolicy::Always,
    }
}

/// The shims of a program.
fn shims(program: &Path) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
        })
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name == "hoist-shim\n")
        })
        .collect()
}

/// A sum of a process's memory, in kB.
fn smaps(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap_or(0)
}
