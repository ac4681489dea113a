//! What is left of a command when somebody goes: its reader, its client, its rack. Nothing, within the stated times.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Story;
use crate::harness::rack::{eventually, wait};
use crate::running::{begin, first_line, gone, lives, run, shop, sleeper};

pub(crate) const STORIES: &[Story] = &[
    ("nobody_reads_or_writes", nobody_reads_or_writes),
    ("interrupts_reach_the_process", interrupts_reach_the_process),
    (
        "a_client_that_dies_takes_its_process_along",
        a_client_that_dies_takes_its_process_along,
    ),
    ("a_rack_that_dies", a_rack_that_dies),
    ("a_rack_that_stops", a_rack_that_stops),
    (
        "a_slow_reader_takes_no_memory",
        a_slow_reader_takes_no_memory,
    ),
];

/// From a client's death to the end of its process: the stated time, the grace of these apps, and some patience.
const GONE_LIMIT: Duration = Duration::from_secs(25);

fn signal(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(child.id() as i32), signal)?)
}

fn nobody_reads_or_writes() -> Result<()> {
    let rack = shop()?;
    // `yes | head -1`: the reader goes.
    let mut child = begin(&rack, &["yes"]).spawn()?;
    ensure!(first_line(&mut child)? == "y");
    drop(child.stdout.take());
    ensure!(wait(child, Duration::from_secs(30))? == 128 + 13);
    // The process goes, or reads no more, while there is input without end.
    for words in [
        &["true"][..],
        &["head -c 1000000 | wc -c; exec 0<&-; sleep 0.5; exit 2"],
    ] {
        let mut child = begin(&rack, words)
            .stdin(File::open("/dev/zero")?)
            .spawn()?;
        let mut said = String::new();
        child
            .stdout
            .take()
            .context("no pipe")?
            .read_to_string(&mut said)?;
        let code = wait(child, Duration::from_secs(30))?;
        ensure!(
            matches!((code, said.trim()), (0, "") | (2, "1000000")),
            "{code} {said}"
        );
    }
    // What it leaves behind and holds its streams is not waited for.
    let (text, word) = sleeper(1004);
    let began = Instant::now();
    let ran = run(&rack, &[&format!("({text}) & echo done")])?;
    ensure!(ran.code == 0 && ran.stdout.contains("done"), "{ran}");
    ensure!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    gone(&word, Duration::from_secs(10))
}

fn interrupts_reach_the_process() -> Result<()> {
    let rack = shop()?;
    let text = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = begin(&rack, &[text]).spawn()?;
    ensure!(first_line(&mut child)? == "ready");
    signal(&child, Signal::SIGINT)?;
    ensure!(first_line(&mut child)? == "caught");
    ensure!(wait(child, Duration::from_secs(20))? == 9);
    // The second one leaves, whatever the process thinks of it.
    let (_, word) = sleeper(1005);
    let text = format!(
        "trap '' TERM; trap 'echo heard' INT; echo ready; while :; do sleep 0.05; : {word}; done"
    );
    let mut child = begin(&rack, &[&text]).spawn()?;
    ensure!(first_line(&mut child)? == "ready");
    signal(&child, Signal::SIGINT)?;
    ensure!(first_line(&mut child)? == "heard");
    signal(&child, Signal::SIGINT)?;
    ensure!(wait(child, Duration::from_secs(20))? == 130);
    eventually(GONE_LIMIT, || {
        let listed = rack.items(&["ps", "-a", "shop"])?;
        ensure!(listed.len() == 1, "{listed:?}");
        Ok(())
    })
}

fn a_client_that_dies_takes_its_process_along() -> Result<()> {
    let rack = shop()?;
    let id = rack.processes("shop")?[0].0.clone();
    let (text, word) = sleeper(1006);
    let stubborn = format!("trap '' HUP TERM INT; echo ready; sleep {word}");
    let exec = ["exec", "-a", "shop", &id, &stubborn];
    for (mut command, flooded) in [
        (begin(&rack, &[&text]), false),
        (begin(&rack, &[&stubborn]), false),
        // It reads nothing of the input that waits for it.
        (begin(&rack, &[&text]), true),
        (rack.command(&exec), false),
    ] {
        command.stdout(Stdio::piped());
        if flooded {
            command.stdin(File::open("/dev/zero")?);
        }
        let mut child = command.spawn()?;
        ensure!(first_line(&mut child)? == "ready");
        eventually(Duration::from_secs(10), || {
            ensure!(lives(&word), "`sleep {word}` does not live");
            Ok(())
        })?;
        child.kill()?;
        child.wait()?;
        gone(&word, GONE_LIMIT)?;
    }
    eventually(GONE_LIMIT, || {
        let listed = rack.items(&["ps", "-a", "shop"])?;
        ensure!(listed.len() == 1, "{listed:?}");
        Ok(())
    })
}

fn a_rack_that_dies() -> Result<()> {
    let mut rack = shop()?;
    let (text, word) = sleeper(1007);
    let mut child = begin(&rack, &[&text]).spawn()?;
    ensure!(first_line(&mut child)? == "ready");
    rack.kill()?;
    let mut said = String::new();
    let mut errors = child.stderr.take().context("no pipe")?;
    let code = wait(child, Duration::from_secs(20))?;
    errors.read_to_string(&mut said)?;
    ensure!(
        code == 255 && said.contains("is not known: the connection"),
        "{code} {said}"
    );
    rack.run()?;
    gone(&word, GONE_LIMIT)?;
    eventually(GONE_LIMIT, || {
        let listed = rack.items(&["ps", "-a", "shop"])?;
        ensure!(listed.len() == 1, "{listed:?}");
        Ok(())
    })?;
    run(&rack, &["echo again"])?.expect(0, &["again"])
}

fn a_rack_that_stops() -> Result<()> {
    let mut rack = shop()?;
    let (text, word) = sleeper(1008);
    let mut child = begin(&rack, &[&text]).spawn()?;
    ensure!(first_line(&mut child)? == "ready");
    rack.ok(&["rack", "stop"])?;
    rack.ended()?;
    let mut said = String::new();
    let mut errors = child.stderr.take().context("no pipe")?;
    let code = wait(child, Duration::from_secs(20))?;
    errors.read_to_string(&mut said)?;
    ensure!(
        code == 255 && said.contains("the rack is stopping"),
        "{code} {said}"
    );
    gone(&word, GONE_LIMIT)?;
    rack.run()
}

fn a_slow_reader_takes_no_memory() -> Result<()> {
    let rack = shop()?;
    let resident = |pid: u32| -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.context("no VmRSS")?.trim().parse().context("no number")
    };
    let pid = rack.pid().context("no rack")?;
    let before = resident(pid)?;
    let mut child = begin(&rack, &["head -c 400000000 /dev/zero"])
        .stdin(File::open("/dev/zero")?)
        .spawn()?;
    std::thread::sleep(Duration::from_secs(3));
    let (of_rack, of_client) = (resident(pid)?.saturating_sub(before), resident(child.id())?);
    ensure!(
        of_rack < 20_000 && of_client < 40_000,
        "{of_rack} KiB, {of_client} KiB"
    );
    let mut out = child.stdout.take().context("no pipe")?;
    let read = std::io::copy(&mut out, &mut std::io::sink())?;
    ensure!(read == 400_000_000, "{read}");
    ensure!(wait(child, Duration::from_secs(60))? == 0);
    Ok(())
}
