//! How long a change takes until it serves: redeploy, switch, rollback while warm.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};

use super::{Row, spread};
use crate::harness::http::{Conn, get};
use crate::harness::rack::{free_address, wait};
use crate::harness::source::{program, web};
use crate::harness::{Rack, Source};

/// How often each is measured.
const TIMES: u32 = 20;
/// The start of an app that takes its time.
const SLOW_START: Duration = Duration::from_millis(500);

/// Measures all three.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let own = own_start()?;
    let mut rows = redeploys(binary, own)?;
    rows.push(rollback(binary)?);
    Ok(rows)
}

/// How long the app itself takes from its start to its port, without Hoist: the median.
fn own_start() -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let address = free_address()?;
        let began = Instant::now();
        let mut child = Command::new(program()?)
            .arg("bare")
            .env("PORT", address.port().to_string())
            .stdout(Stdio::null())
            .spawn()?;
        while get(address, "bare", "/").is_err() {
            ensure!(
                began.elapsed() < Duration::from_secs(10),
                "the app does not start"
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        times.push(began.elapsed());
        child.kill()?;
        child.wait()?;
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Redeploys of an app that starts at once and of one that takes its time, and the switch in each of them.
fn redeploys(binary: &Path, own: Duration) -> Result<Vec<Row>> {
    let rack = Rack::start(binary)?;
    let mut rows = Vec::new();
    for (what, delay) in [
        ("an app that starts at once", Duration::ZERO),
        ("an app that takes 500 ms to start", SLOW_START),
    ] {
        let source = Source::web("shop", "v0")?;
        rack.deployed(&source.dir())?;
        let (mut whole, mut switch) = (Vec::new(), Vec::new());
        for n in 1..=TIMES {
            let text = format!("{}-{n}", delay.as_millis());
            source.manifest(&web(
                &format!("{text} --start-ms {}", delay.as_millis()),
                "",
            ))?;
            let dir = source.dir().to_string_lossy().into_owned();
            let seen = serves_after(&rack, &["deploy", &dir], &text)?;
            whole.push(seen.after.saturating_sub(own + delay));
            switch.push(seen.since_listening);
        }
        rows.push(Row {
            what: format!(
                "redeploy of {what}: directory to serving, less its own start ({} ms)",
                (own + delay).as_millis()
            ),
            bar: "at most 300 ms".to_owned(),
            measured: spread(&mut whole),
            reached: whole[whole.len() / 2] <= Duration::from_millis(300),
        });
        rows.push(Row {
            what: format!(
                "switch of {what}: from its first listening to its first answer through the router"
            ),
            bar: "at most 50 ms".to_owned(),
            measured: spread(&mut switch),
            reached: switch[switch.len() / 2] <= Duration::from_millis(50),
        });
    }
    Ok(rows)
}

fn rollback(binary: &Path) -> Result<Row> {
    let rack = Rack::start(binary)?;
    let source = Source::web("shop", "v0")?;
    rack.deployed(&source.dir())?;
    let mut times = Vec::new();
    for n in 0..TIMES {
        let (old, new) = (format!("old{n}"), format!("new{n}"));
        for text in [&old, &new] {
            source.manifest(&web(text, ""))?;
            rack.deployed(&source.dir())?;
        }
        times.push(serves_after(&rack, &["releases", "rollback", "-a", "shop"], &old)?.after);
    }
    Ok(Row {
        what: "rollback while the old process is warm: command to serving".to_owned(),
        bar: "at most 100 ms".to_owned(),
        measured: spread(&mut times),
        reached: times[times.len() / 2] <= Duration::from_millis(100),
    })
}

struct Seen {
    /// From the command's start to the first answer of the new process through the router.
    after: Duration,
    /// From when that process listened.
    since_listening: Duration,
}

/// Runs a command and asks the router all the time, until the app says `text`.
fn serves_after(rack: &Rack, words: &[&str], text: &str) -> Result<Seen> {
    let mut conn = Conn::open(rack.router)?;
    let began = Instant::now();
    let asked = rack
        .command(words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let seen = loop {
        let answer = conn.ask("GET", "shop.localhost", "/since", b"")?;
        let said = answer.text();
        if let Some((_, since)) = said.split_once(' ').filter(|(found, _)| *found == text) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            let since = Duration::from_micros(since.trim().parse().context("not a time")?);
            break Seen {
                after: began.elapsed(),
                since_listening: now.saturating_sub(since),
            };
        }
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "`hoist {}` changed nothing",
            words.join(" ")
        );
        std::thread::sleep(Duration::from_micros(500));
    };
    let code = wait(asked, Duration::from_secs(60))?;
    ensure!(code == 0, "`hoist {}` ended with {code}", words.join(" "));
    Ok(seen)
}
