//! What a newcomer waits for: `cargo run --release -- up examples/hello`, from nothing and once more.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Row, spread};
use crate::harness::Rack;
use crate::harness::http::get;
use crate::harness::rack::wait;
use crate::root;

/// How often the repeated start is measured.
const TIMES: usize = 7;
/// How long a first build may take before it is given up.
const COLD_LIMIT: Duration = Duration::from_secs(1800);

/// Starts again and again with everything built.
pub(super) fn repeated(binary: &Path) -> Result<Vec<Row>> {
    // Whatever changed since is built first, without being measured.
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release"])
        .current_dir(root()?)
        .status()?;
    ensure!(built.success(), "the optimised binary does not build");
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(serving(binary, None, Duration::from_secs(60))?);
    }
    let measured = spread(&mut times);
    Ok(vec![Row {
        what: "`cargo run --release -- up examples/hello`, built already: command to serving"
            .to_owned(),
        bar: "under 2 s".to_owned(),
        measured,
        reached: times[times.len() / 2] < Duration::from_secs(2),
    }])
}

/// Starts with an empty target directory; crates are downloaded already.
pub(super) fn cold(binary: &Path) -> Result<Vec<Row>> {
    // A place of its own, which stays: whoever looks for the reason of a figure finds what was built.
    let target = root()?.join("target/bench-cold");
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(f64::NAN);
    let busy = if load > 0.5 {
        format!("; not idle: load average {load} before")
    } else {
        String::new()
    };
    let cpu = || -> Result<i64> {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        Ok(used.user_time().tv_sec() + used.system_time().tv_sec())
    };
    let before = cpu()?;
    let took = serving(binary, Some(&target), COLD_LIMIT)?;
    let used = cpu()? - before;
    Ok(vec![Row {
        what: "`cargo run --release -- up examples/hello`, cold: command to serving".to_owned(),
        bar: "at most 5 minutes on two idle cores".to_owned(),
        measured: format!("{:.0} s, {used} s of CPU time{busy}", took.as_secs_f64()),
        reached: took <= Duration::from_secs(300),
    }])
}

/// From the command to the first answer through the router; then Ctrl-C.
fn serving(binary: &Path, target: Option<&Path>, limit: Duration) -> Result<Duration> {
    let root = root()?;
    // Only a place: the rack is the command's own.
    let rack = Rack::idle(binary)?;
    let began = Instant::now();
    let mut up = Command::new("cargo");
    if let Some(target) = target {
        up.env("CARGO_TARGET_DIR", target);
    }
    let up = up
        .args([
            "run",
            "--quiet",
            "--release",
            "--",
            "up",
            "examples/hello",
            "--data-dir",
        ])
        .arg(rack.data())
        .args(rack.flags())
        .env_remove("HOIST_DATA_DIR")
        .env_remove("HOIST_URL")
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let served = until_served(&rack, began, limit);
    stop(up)?;
    served
}

fn until_served(rack: &Rack, began: Instant, limit: Duration) -> Result<Duration> {
    loop {
        if get(rack.router, "hello.localhost", "/").is_ok_and(|answer| answer.status == 200) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < limit, "not serving after {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Cargo becomes the program it runs, so the signal reaches the rack.
fn stop(up: Child) -> Result<()> {
    kill(Pid::from_raw(up.id() as i32), Signal::SIGINT)?;
    wait(up, Duration::from_secs(60)).map(drop)
}
