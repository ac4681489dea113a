//! How close `hoist run` is to running it here: the start of nothing, a keystroke and back, a gigabyte through `cat`. What
//! it stands beside is measured in turn with it, on the same machine in the same minute.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Row, spread};
use crate::harness::rack::wait;
use crate::harness::terminal::Terminal;
use crate::harness::{Rack, Source};

/// How often nothing is started.
const STARTS: usize = 40;
/// How many keys are pressed.
const KEYS: usize = 300;
/// The pause between two of them: people do not type faster.
const KEY_PAUSE: Duration = Duration::from_millis(10);
/// How often the gigabyte goes through.
const ROUNDS: usize = 5;
const GIGABYTE: u64 = 1_000_000_000;

/// Measures all three.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let rack = Rack::start(binary)?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    Ok(vec![starts(&rack)?, keystrokes(&rack)?, throughput(&rack)?])
}

fn run_command(rack: &Rack, words: &[&str]) -> Command {
    rack.command(&[&["run", "-a", "shop", "web"], words].concat())
}

fn plain(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

fn timed(mut command: Command) -> Result<Duration> {
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(took)
}

fn starts(rack: &Rack) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        theirs.push(timed(plain(&["true"]))?);
        ours.push(timed(run_command(rack, &["true"]))?);
    }
    theirs.sort();
    let own = theirs[STARTS / 2];
    let mut above: Vec<_> = ours.iter().map(|took| took.saturating_sub(own)).collect();
    Ok(Row {
        what: format!(
            "`hoist run web true`, less a plain fork and exec of `true` ({:.1} ms)",
            own.as_secs_f64() * 1000.0
        ),
        bar: "at most 60 ms".to_owned(),
        measured: spread(&mut above),
        reached: above[STARTS / 2] <= Duration::from_millis(60),
    })
}

/// From a key's press to its appearance, on a terminal that echoes.
fn keystrokes(rack: &Rack) -> Result<Row> {
    let mut ours = Terminal::run(&run_command(rack, &["cat"]), 80, 24)?;
    let mut theirs = Terminal::run(&plain(&["cat"]), 80, 24)?;
    for terminal in [&mut ours, &mut theirs] {
        terminal.types("ready\r")?;
        terminal.shows("ready\r\nready\r\n")?;
    }
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..KEYS {
        std::thread::sleep(KEY_PAUSE);
        of_ours.push(ours.echo_of("x")?);
        std::thread::sleep(KEY_PAUSE);
        of_theirs.push(theirs.echo_of("x")?);
    }
    of_ours.sort();
    of_theirs.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let median = of_ours[KEYS / 2];
    Ok(Row {
        what: format!(
            "keystroke echo of `hoist run web cat` (a plain terminal: {:.2} ms)",
            ms(of_theirs[KEYS / 2])
        ),
        bar: "at most 5 ms at the median".to_owned(),
        measured: format!(
            "{:.2} ms (median of {KEYS}, p99 {:.2} ms)",
            ms(median),
            ms(of_ours[KEYS * 99 / 100])
        ),
        reached: median <= Duration::from_millis(5),
    })
}

fn throughput(rack: &Rack) -> Result<Row> {
    let (file, copy) = (rack.home().join("gigabyte"), rack.home().join("copy"));
    let mut random = File::open("/dev/urandom")?.take(GIGABYTE);
    std::io::copy(&mut random, &mut File::create(&file)?)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut command = run_command(rack, &["cat"]);
        command
            .stdin(File::open(&file)?)
            .stdout(File::create(&copy)?);
        ours.push(timed(command)?);
        ensure!(same(&file, &copy)?, "what came back is not what was sent");
        theirs.push(through_a_pipe(&file, &copy)?);
    }
    fs::remove_file(&file)?;
    fs::remove_file(&copy)?;
    ours.sort();
    theirs.sort();
    let rate = |time: Duration| GIGABYTE as f64 / 1e6 / time.as_secs_f64();
    let median = rate(ours[ROUNDS / 2]);
    Ok(Row {
        what: format!(
            "1 GB through `hoist run web cat`, file to file, byte-identical (`cat` through a pipe: {:.0} MB/s)",
            rate(theirs[ROUNDS / 2])
        ),
        bar: "at least 400 MB/s".to_owned(),
        measured: format!(
            "{median:.0} MB/s (median of {ROUNDS}, worst {:.0} MB/s)",
            rate(ours[ROUNDS - 1])
        ),
        reached: median >= 400.0,
    })
}

/// `cat < FILE | cat > COPY`.
fn through_a_pipe(file: &Path, copy: &Path) -> Result<Duration> {
    let began = Instant::now();
    let mut first = Command::new("cat")
        .stdin(File::open(file)?)
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = first.stdout.take().context("no pipe")?;
    let second = Command::new("cat")
        .stdin(pipe)
        .stdout(File::create(copy)?)
        .spawn()?;
    let limit = Duration::from_secs(60);
    let (first, second) = (wait(first, limit)?, wait(second, limit)?);
    let took = began.elapsed();
    ensure!(
        first == 0 && second == 0,
        "cat ended with {first} and {second}"
    );
    Ok(took)
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    let status = Command::new("cmp").args([one, other]).status()?;
    // So that it is not written to the disk in the middle of the next round.
    File::open(other)?.sync_all()?;
    Ok(status.success())
}
