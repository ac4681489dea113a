//! Ends that somebody asks for: of a build that runs, and of promotions by an app's own limit.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::rack::{Ran, eventually, wait};
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::running::lives;
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    ("a_build_is_cancelled", a_build_is_cancelled),
    (
        "an_apps_own_limit_ends_a_promotion",
        an_apps_own_limit_ends_a_promotion,
    ),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// The build of the app that runs, once its command does.
fn running(rack: &Rack) -> Result<String> {
    eventually(PATIENCE, || {
        let builds = rack.items(&["builds", "-a", "shop"])?;
        let build = builds.iter().find(|build| build["status"] == "running");
        let id = build.context("no build runs")?["id"].as_str();
        Ok(id.context("no id")?.to_owned())
    })
}

fn a_build_is_cancelled() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "serve")?;
    let good = rack.deployed(&source.dir())?;
    let none = rack.hoist(&["builds", "cancel", "-a", "shop"])?;
    none.expect(1, &["no build of shop runs", "hoist cancel -a shop"])?;
    // A word that is nowhere else on the machine.
    let word = format!("86399.{}", std::process::id());
    source.manifest(&format!(
        "build:\n  command: sh -c 'trap \"\" TERM; sleep {word}; sleep {word}'\n{}",
        web("serve", "")
    ))?;
    let dir = source.dir();
    let args = ["deploy", &dir.to_string_lossy()].map(str::to_owned);
    let command = rack.command(&args.each_ref().map(String::as_str));
    let deploy = std::thread::spawn(move || Ran::of(command, PATIENCE * 2));
    let build = running(&rack)?;
    let hint = rack.hoist(&["cancel", "-a", "shop"])?;
    hint.expect(1, &["no promotion of app", "hoist builds cancel -a shop"])?;
    let ran = rack.hoist(&["builds", "cancel", "-a", "shop"])?;
    ran.expect(0, &[&format!("Cancelling {build}... OK")])?;
    ensure!(!lives(&word), "its processes go on");
    let ended = deploy.join().ok().context("a thread")??;
    ended.expect(1, &[&format!("build {build} of shop was cancelled by")])?;
    let again = rack.hoist(&["builds", "cancel", &build, "-a", "shop"])?;
    again.expect(1, &["has ended: it is cancelled", "hint: "])?;
    rack.ok(&["builds", "info", &build, "-a", "shop"])?
        .expect(0, &["cancelled"])?;
    ensure!(rack.json(&["apps", "info", "shop"])?["release"] == good.as_str());

    // Whoever goes away hears how to end it.
    let mut command = rack.command(&args.each_ref().map(String::as_str));
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("no pipe")?);
    let (mut line, mut text) = (String::new(), String::new());
    while !line.contains("running sh -c") {
        line.clear();
        ensure!(stderr.read_line(&mut line)? > 0, "it ended");
    }
    let build = running(&rack)?;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
    stderr.read_to_string(&mut text)?;
    ensure!(wait(child, PATIENCE)? == 130, "{text}");
    ensure!(
        text.contains(&format!("hoist builds cancel {build} -a shop")),
        "{text}"
    );
    rack.ok(&["builds", "cancel", &build, "-a", "shop"])?;
    ensure!(!lives(&word), "its processes go on");
    source.manifest(&web("serve", ""))?;
    rack.deployed(&source.dir())?;
    Ok(())
}

fn an_apps_own_limit_ends_a_promotion() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "serve")?;
    let good = rack.deployed(&source.dir())?;
    let shown = rack.ok(&["apps", "params", "shop"])?;
    shown.expect(0, &["timeout  10m    10m", "keep     50     50"])?;
    rack.ok(&[
        "apps",
        "params",
        "set",
        "timeout=2",
        "keep=all",
        "-a",
        "shop",
    ])?
    .expect(0, &["Updating parameters... OK"])?;
    let set = rack.json(&["apps", "params", "-a", "shop"])?;
    ensure!(
        set["timeout_seconds"] == 2 && set["keep_releases"] == 0,
        "{set}"
    );
    for (param, words) in [
        ("timout=3", "did you mean `timeout`?"),
        ("timeout=2d", "1 to 86400 seconds"),
        ("keep=some", "1 to 1000000, or all"),
    ] {
        let refused = rack.hoist(&["apps", "params", "set", param, "-a", "shop"])?;
        refused.expect(2, &[words])?;
    }
    source.manifest("services:\n  web:\n    command: sleep 1000\n    port: 3000\n")?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(4, &["it took longer than 2 s", &good])?;
    ensure!(rack.json(&["apps", "info", "shop"])?["release"] == good.as_str());
    rack.ok(&["apps", "params", "set", "timeout=default", "-a", "shop"])?;
    let set = rack.json(&["apps", "params", "-a", "shop"])?;
    ensure!(set["timeout_seconds"] == 600, "{set}");
    Ok(())
}
