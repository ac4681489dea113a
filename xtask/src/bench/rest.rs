//! What a rack costs that has nothing to do: memory of rack, router and shims, and how fast it answers `ps`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Row, spread};
use crate::harness::rack::eventually;
use crate::harness::{Rack, Source, traces};

const APPS: usize = 20;
const MANY: usize = 200;
/// How often `ps` is asked.
const TIMES: usize = 40;
/// How long everything rests before memory is looked at.
const REST: Duration = Duration::from_secs(10);

/// Measures all of it on one rack: 20 apps first, then one of them grows.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let rack = Rack::start(binary)?;
    for n in 1..=APPS {
        let source = Source::web(&format!("app-{n}"), "resting")?;
        rack.deployed(&source.dir())?;
    }
    std::thread::sleep(REST);
    let rack_pid = rack.pid().context("no rack runs")? as i32;
    let server = rss(rack_pid)?;
    let router = rss(traces::router(rack.data()).context("no router runs")?)?;
    // The nursery of shims is the rack's child and part of its cost.
    let mut nursery = 0;
    for child in traces::children(rack_pid) {
        if !traces::line_of(child).contains(" router ") {
            nursery += rss(child)?;
        }
    }
    let all = mb(server + router + nursery);
    let mut rows = vec![Row {
        what: format!("rack and router at rest, {APPS} apps of one process (sum of Rss)"),
        bar: "at most 40 MB".to_owned(),
        measured: format!(
            "{all:.1} MB (rack {:.1}, router {:.1}, nursery of shims {:.1})",
            mb(server),
            mb(router),
            mb(nursery)
        ),
        reached: all <= 40.0,
    }];
    rows.push(shims(&rack, APPS)?);
    rows.push(ps(&rack, APPS)?);
    rack.ok(&["scale", &format!("web={}", MANY - APPS + 1), "-a", "app-1"])?;
    std::thread::sleep(REST);
    rows.push(shims(&rack, MANY)?);
    rows.push(ps(&rack, MANY)?);
    Ok(rows)
}

/// The memory of a shim, its share of what it shares.
fn shims(rack: &Rack, count: usize) -> Result<Row> {
    let shims = eventually(Duration::from_secs(60), || {
        let shims: Vec<i32> = traces::held(rack.data())
            .iter()
            .filter_map(|held| held.shim)
            .collect();
        ensure!(
            shims.len() == count,
            "{} shims instead of {count}",
            shims.len()
        );
        Ok(shims)
    })?;
    let mut each = Vec::new();
    for shim in shims {
        each.push(kilobytes(shim, "smaps_rollup", "Pss:")?);
    }
    each.sort_unstable();
    let (median, most) = (each[each.len() / 2], each[each.len() - 1]);
    Ok(Row {
        what: format!("a shim, with {count} processes (PSS)"),
        bar: "at most 1 MB".to_owned(),
        measured: format!("{:.2} MB (most {:.2} MB)", mb(median), mb(most)),
        reached: mb(median) <= 1.0,
    })
}

fn ps(rack: &Rack, count: usize) -> Result<Row> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let ran = rack.ok(&["ps", "-a", "app-1"])?;
        times.push(ran.took);
    }
    let lines = rack.ok(&["ps", "-a", "app-1"])?.stdout.lines().count() - 1;
    let measured = spread(&mut times);
    Ok(Row {
        what: format!(
            "`hoist ps` with the program's start: {count} processes on the rack, {lines} shown"
        ),
        bar: "at most 20 ms".to_owned(),
        measured,
        reached: times[times.len() / 2] <= Duration::from_millis(20),
    })
}

fn rss(pid: i32) -> Result<u64> {
    kilobytes(pid, "status", "VmRSS:")
}

pub(super) fn mb(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

pub(super) fn kilobytes(pid: i32, file: &str, label: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no {label} of process {pid}"))
}
