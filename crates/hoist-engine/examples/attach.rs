//! Measures what attached processes cost on the local engine: how long `true` takes beside a plain fork and exec, how long a
//! keystroke takes to come back, how many bytes pass in a second.
//!
//! `cargo run --release -p hoist-engine --example attach -- [rounds] [megabytes]`
#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::path::Path;
use std::time::{Duration, Instant};

use hoist_core::id::{ProcessId, ReleaseId, SlotId, Version, WorkloadId};
use hoist_engine::local::{LocalConfig, LocalEngine, shim_main, stop_everything};
use hoist_engine::{
    Beside, Engine, ExecSpec, ProcessSpec, RestartPolicy, Secret, Session, Streams, TaskId,
    TaskSpec, TerminalSize, Tree, WorkloadSpec,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    if first.as_ref().is_some_and(|word| word == "shim") {
        shim_main(args);
    }
    let number =
        |word: Option<std::ffi::OsString>| word.and_then(|word| word.to_str()?.parse().ok());
    let rounds = number(first).unwrap_or(50);
    let megabytes = number(args.next()).unwrap_or(1_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(rounds, megabytes));
}

async fn measure(rounds: u32, megabytes: u32) {
    let dir = std::env::temp_dir().join(format!("hoist-attach-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("slug")).unwrap();
    let engine = LocalEngine::open(LocalConfig::new(dir.join("data"))).unwrap();
    let id = WorkloadId {
        app: "attach".parse().unwrap(),
        service: "web".parse().unwrap(),
        attempt: Version {
            epoch: 1,
            number: 1,
        },
    };
    let workload = WorkloadSpec {
        id: id.clone(),
        release: ReleaseId::from_random([0; 16]),
        process: process(&dir, &["sleep", "1000"]),
        port: false,
        restart: RestartPolicy::Always,
    };
    engine.apply(&workload, 1).await.unwrap();
    let beside = Beside::Slot(SlotId {
        workload: id,
        slot: 1,
    });
    let terminal = Streams::Terminal(TerminalSize::new(80, 24));

    let mut plain = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        tokio::process::Command::new("true").status().await.unwrap();
        plain.push(begin.elapsed());
    }
    say("plain fork and exec of true", plain);
    for (what, streams) in [("pipes", Streams::Pipes), ("a terminal", terminal)] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begin = Instant::now();
            end(exec(&engine, &beside, &["true"], streams).await).await;
            times.push(begin.elapsed());
        }
        say(&format!("exec of true on {what}"), times);
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begin = Instant::now();
            end(run(&engine, &dir, &["true"], streams).await).await;
            times.push(begin.elapsed());
        }
        say(&format!("run of true on {what}"), times);
    }
    let session = exec(&engine, &beside, &["cat"], terminal).await;
    say(
        "a keystroke's echo by the terminal",
        keystrokes(session, rounds).await,
    );
    for (what, session) in [
        (
            "exec",
            exec(&engine, &beside, &["cat"], Streams::Pipes).await,
        ),
        ("run", run(&engine, &dir, &["cat"], Streams::Pipes).await),
    ] {
        let speed = throughput(session, megabytes).await;
        println!("{megabytes} MB through {what} cat: {speed:.0} MB/s");
    }
    let data = dir.join("data");
    let stop = move || stop_everything(&data).unwrap();
    tokio::task::spawn_blocking(stop).await.unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

async fn exec(engine: &LocalEngine, beside: &Beside, argv: &[&str], streams: Streams) -> Session {
    let spec = ExecSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("TERM".to_owned(), Secret::new("xterm"))],
    };
    engine.exec(beside, &spec, streams).await.unwrap()
}

async fn run(engine: &LocalEngine, dir: &Path, argv: &[&str], streams: Streams) -> Session {
    static NUMBER: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let spec = TaskSpec {
        id: TaskId::OneOff(
            "attach".parse().unwrap(),
            ProcessId::from_random([number; 6]),
        ),
        process: process(dir, argv),
        limit: Duration::from_secs(600),
    };
    let _ = engine.forget_task(&spec.id).await;
    engine.run_attached(&spec, streams).await.unwrap()
}

/// All that a client waits for: the last output, and the exit.
async fn end(mut session: Session) {
    let mut output = Vec::new();
    session.output.read_to_end(&mut output).await.unwrap();
    assert_eq!(session.control.exit().await.unwrap().code, 0);
}

async fn keystrokes(mut session: Session, rounds: u32) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begin = Instant::now();
        session.input.write_all(b"x").await.unwrap();
        let mut echo = [0];
        session.output.read_exact(&mut echo).await.unwrap();
        times.push(begin.elapsed());
    }
    session.control.stop().await.unwrap();
    times
}

async fn throughput(session: Session, megabytes: u32) -> f64 {
    let Session {
        mut input,
        mut output,
        control,
        ..
    } = session;
    let begin = Instant::now();
    let write = tokio::spawn(async move {
        let block = vec![7; 1_000_000];
        for _ in 0..megabytes {
            input.write_all(&block).await.unwrap();
        }
    });
    let mut room = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match output.read(&mut room).await.unwrap() {
            0 => break,
            count => total += count as u64,
        }
    }
    write.await.unwrap();
    assert_eq!(total, u64::from(megabytes) * 1_000_000);
    assert_eq!(control.exit().await.unwrap().code, 0);
    f64::from(megabytes) / begin.elapsed().as_secs_f64()
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: {median:?} median, {worst:?} worst of {}",
        times.len()
    );
}

fn process(dir: &Path, argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        path: Vec::new(),
        tree: Tree::Slug(dir.join("slug")),
        volumes: Vec::new(),
        memory_bytes: 256 << 20,
        cpu_millicores: 0,
        pids_max: 0,
        background: false,
        stop_grace: Duration::from_secs(2),
        log_dir: dir.join("logs"),
        log_source: "service/web".into(),
        log_bytes_max: 1 << 20,
    }
}
