//! What history weighs: a rack of 1,000 apps, one of them with 10,000 releases. How fast it is read and added to, what it
//! costs in memory and at rest, and how fast a rack with it starts.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Row;
use super::rest::{kilobytes, mb};
use super::weighty::{self, Api, BIG, BIG_RELEASES, OTHER_RELEASES, OTHERS, calls};
use crate::harness::{Rack, Source};

/// How often each command is run.
const TIMES: usize = 60;
/// How often the rack is started.
const STARTS: usize = 5;
/// How long a rack rests while its CPU time is counted.
const REST: Duration = Duration::from_secs(20);
/// Apps that get a process, after all else was measured without any.
const RUNNING: usize = 100;

/// Measures all of it on one rack.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let mut rack = weighty::rack(binary)?;
    let mut rows = starts(&mut rack)?;
    let releases = counted(&rack)?;
    ensure!(
        releases >= BIG_RELEASES,
        "{BIG} has {releases} releases only"
    );
    rows.extend(reads(&rack, "no process runs")?);
    rows.extend(sets(&rack, "no process runs")?);
    rows.push(going_back(&rack)?);
    rows.extend(costs(&rack, "no process runs")?);
    for n in 1..=RUNNING {
        let source = Source::web(&format!("other-{n}"), "running")?;
        rack.deployed(&source.dir())?;
    }
    let with = format!("{RUNNING} processes run");
    rows.extend(reads(&rack, &with)?);
    rows.extend(sets(&rack, &with)?);
    rows.extend(costs(&rack, &with)?);
    Ok(rows)
}

/// From the start of the program to its first answer, and to the end of its first pass over all apps. The router is
/// started as well.
fn starts(rack: &mut Rack) -> Result<Vec<Row>> {
    let (mut answers, mut passes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        rack.run()?;
        answers.push(began.elapsed());
        let mut api = Api::open(rack)?;
        while !has_looked(&mut api)? {
            std::thread::sleep(Duration::from_millis(2));
        }
        passes.push(began.elapsed());
        rack.stop_all()?;
    }
    rack.run()?;
    let what =
        format!("start with {OTHERS} apps of {OTHER_RELEASES} releases and one of {BIG_RELEASES}");
    Ok(vec![
        timed(format!("{what}: to the first answer"), Some(1_000), answers),
        timed(
            format!("{what}: to the end of the first pass over all apps"),
            None,
            passes,
        ),
    ])
}

/// Whether the control loop has passed once.
fn has_looked(api: &mut Api) -> Result<bool> {
    let report = api.ask("GET", "/doctor", &Value::Null)?.text();
    ensure!(report.contains("\"control\""), "no loop in {report}");
    Ok(!report.contains("\"0 passes"))
}

/// The releases of the big app, as a program pages through them.
fn counted(rack: &Rack) -> Result<usize> {
    let (mut count, mut next) = (0, String::new());
    loop {
        let mut args = vec!["releases", "-a", BIG, "--limit", "1000"];
        if !next.is_empty() {
            args.extend(["--before", &next]);
        }
        let page = rack.json(&args)?;
        count += page["items"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => return Ok(count),
        }
    }
}

/// Looking, from the command line.
fn reads(rack: &Rack, with: &str) -> Result<Vec<Row>> {
    let page = rack.json(&["releases", "-a", BIG, "--limit", "1000"])?;
    let id = |at: usize| page["items"][at]["id"].as_str().context("no release");
    let (newest, old) = (id(0)?, id(400)?);
    let commands: [(&[&str], Option<u64>); 8] = [
        (&["releases", "-a", BIG], Some(20)),
        (&["releases", "-a", BIG, "--limit", "1000"], None),
        (
            &["releases", "-a", BIG, "--json", "--before", old],
            Some(20),
        ),
        (&["releases", "info", newest, "-a", BIG], None),
        (&["releases", "-a", "other-7"], Some(20)),
        (&["promotions", "-a", BIG], None),
        (&["env", "-a", BIG], None),
        (&["apps"], None),
    ];
    let mut rows = Vec::new();
    for (args, bar) in commands {
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            took.push(rack.ok(args)?.took);
        }
        let words = args.join(" ").replace(old, "R…").replace(newest, "R…");
        rows.push(timed(format!("`hoist {words}`, {with}"), bar, took));
    }
    Ok(rows)
}

/// One variable, over the API and from the command line, beside an append that is on disk when it returns.
fn sets(rack: &Rack, with: &str) -> Result<Vec<Row>> {
    let mut file = File::create(rack.data().join("append"))?;
    let mut appends = calls(TIMES, || {
        file.write_all(&[b'x'; 4096])?;
        Ok(file.sync_data()?)
    })?;
    fs::remove_file(rack.data().join("append"))?;
    let mut api = Api::open(rack)?;
    let mut n = 0;
    let over_api = calls(TIMES, || {
        n += 1;
        api.set(BIG, "COUNTED", &n.to_string()).map(drop)
    })?;
    let mut by_command = Vec::with_capacity(TIMES);
    for n in 0..TIMES {
        let variable = format!("COMMANDED={n}");
        by_command.push(rack.ok(&["env", "set", &variable, "-a", BIG])?.took);
    }
    let beside = format!(
        "an append of 4 KB and its fdatasync: {:.1} ms",
        ms(at(&mut appends, 50))
    );
    Ok(vec![
        timed(
            format!("variable set to release durable, over the API, {with} ({beside})"),
            Some(10),
            over_api,
        ),
        timed(
            format!("`hoist env set` with the program's start, {with}"),
            Some(10),
            by_command,
        ),
    ])
}

/// Deciding where to go back to, with the copy and the promotion of it recorded.
fn going_back(rack: &Rack) -> Result<Row> {
    let mut api = Api::open(rack)?;
    let body = serde_json::json!({ "if_busy": "wait" });
    let took = calls(TIMES / 4, || {
        api.ask("POST", &format!("/apps/{BIG}/rollbacks"), &body)
            .map(drop)
    })?;
    let what = "`releases rollback` over the API: decided, copied and begun, after the one before has ended";
    Ok(timed(what.to_owned(), None, took))
}

/// Memory of the rack, and what it does when nobody asks for anything.
fn costs(rack: &Rack, with: &str) -> Result<Vec<Row>> {
    let pid = rack.pid().context("no rack runs")? as i32;
    let resident = mb(kilobytes(pid, "status", "VmRSS:")?);
    let own = mb(kilobytes(pid, "smaps_rollup", "Pss:")?);
    let before = cpu(pid)?;
    std::thread::sleep(REST);
    let used = cpu(pid)? - before;
    let share = used as f64 / REST.as_millis() as f64 * 100.0;
    Ok(vec![
        Row {
            what: format!("memory of the rack after these, {with} (Rss)"),
            bar: "at most 150 MB".to_owned(),
            measured: format!("{resident:.1} MB (PSS {own:.1} MB)"),
            reached: resident <= 150.0,
        },
        Row {
            what: format!("CPU of the rack at rest, {with}"),
            bar: "none".to_owned(),
            measured: format!("{share:.2} % of a core, over {} s", REST.as_secs()),
            reached: true,
        },
    ])
}

/// Milliseconds of CPU that a process has used.
fn cpu(pid: i32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("no stat")?;
    let times = rest.split(' ').skip(11).take(2);
    let ticks = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // Ticks are hundredths of a second on every Linux that programs can see.
    Ok(ticks * 10)
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Median and p99, against a bar in milliseconds for the median.
fn timed(what: String, bar: Option<u64>, mut times: Vec<Duration>) -> Row {
    let (median, p99) = (at(&mut times, 50), at(&mut times, 99));
    Row {
        what,
        bar: bar.map_or("none".to_owned(), |bar| format!("at most {bar} ms")),
        measured: format!(
            "{:.1} ms (median of {}, p99 {:.1} ms)",
            ms(median),
            times.len(),
            ms(p99)
        ),
        reached: bar.is_none_or(|bar| median <= Duration::from_millis(bar)),
    }
}
