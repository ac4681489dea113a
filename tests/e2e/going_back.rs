//! Releases that are bad, and ways back: what the user reads, and that the app keeps serving.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::rack::eventually;
use crate::harness::source::web;
use crate::harness::{Rack, Source, traces};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "rollback_while_warm_keeps_the_processes",
        rollback_while_warm_keeps_the_processes,
    ),
    (
        "rollback_after_the_warm_time_starts_anew",
        rollback_after_the_warm_time_starts_anew,
    ),
    (
        "rollback_brings_the_environment_back",
        rollback_brings_the_environment_back,
    ),
    (
        "rollback_skips_what_never_served",
        rollback_skips_what_never_served,
    ),
    ("never_listens", never_listens),
    ("crashes_at_start", crashes_at_start),
    ("listens_elsewhere", listens_elsewhere),
    ("fails_its_health_path", fails_its_health_path),
    ("cannot_be_executed", cannot_be_executed),
    ("a_release_command_that_fails", a_release_command_that_fails),
];

fn rollback_while_warm_keeps_the_processes() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    let first = rack.deployed(&source.dir())?;
    let before = rack.processes("shop")?[0].0.clone();
    source.manifest(&web("second", ""))?;
    rack.deployed(&source.dir())?;
    let ran = rack.hoist(&["releases", "rollback", "-a", "shop"])?;
    ran.expect(0, &["Rolling back to R", "... OK, R"])?;
    ensure!(rack.get("shop.localhost", "/")?.text() == format!("first of {first} takes 0 bytes\n"));
    let now: Vec<_> = rack
        .processes("shop")?
        .into_iter()
        .filter(|(_, status, _)| status == "ready")
        .collect();
    ensure!(
        now.len() == 1 && now[0].0 == before,
        "{before} should serve again: {now:?}"
    );
    ensure!(
        ran.took < Duration::from_secs(5),
        "a warm rollback took {:?}",
        ran.took
    );
    let releases = rack.items(&["releases", "-a", "shop"])?;
    ensure!(
        releases.len() == 3 && releases[0]["status"] == "active",
        "{releases:?}"
    );
    Ok(())
}

fn rollback_after_the_warm_time_starts_anew() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    rack.deployed(&source.dir())?;
    let before = rack.processes("shop")?[0].0.clone();
    source.manifest(&web("second", ""))?;
    rack.deployed(&source.dir())?;
    let warm = rack.processes("shop")?;
    ensure!(
        warm.iter()
            .any(|(id, status, _)| *id == before && status == "warm"),
        "{warm:?}"
    );
    eventually(Duration::from_secs(45), || {
        let all = rack.processes("shop")?;
        ensure!(all.len() == 1, "{all:?}");
        Ok(())
    })?;
    let known = rack
        .processes("shop")?
        .into_iter()
        .map(|(id, _, _)| id)
        .collect();
    eventually(Duration::from_secs(5), || {
        let strays = traces::strays(rack.data(), &known);
        ensure!(strays.is_empty(), "{strays:?}");
        Ok(())
    })?;
    rack.hoist(&["releases", "rollback", "-a", "shop"])?
        .expect(0, &["Rolling back to R", "... OK, R"])?;
    ensure!(rack.get("shop.localhost", "/")?.text().starts_with("first"));
    let now: Vec<_> = rack
        .processes("shop")?
        .into_iter()
        .filter(|(_, status, _)| status == "ready")
        .collect();
    ensure!(now.len() == 1 && now[0].0 != before, "{now:?}");
    Ok(())
}

fn rollback_brings_the_environment_back() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    rack.ok(&["env", "set", "COLOR=blue", "--promote", "-a", "shop"])?;
    rack.ok(&["env", "set", "COLOR=red", "--promote", "-a", "shop"])?;
    ensure!(rack.get("shop.localhost", "/env/COLOR")?.text() == "red");
    rack.ok(&["releases", "rollback", "-a", "shop"])?;
    ensure!(rack.get("shop.localhost", "/env/COLOR")?.text() == "blue");
    ensure!(
        rack.ok(&["env", "get", "COLOR", "-a", "shop"])?
            .stdout
            .trim()
            == "blue"
    );
    Ok(())
}

/// Back means to what last served, not to what merely came before.
fn rollback_skips_what_never_served() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    rack.deployed(&source.dir())?;
    rack.hoist(&["releases", "rollback", "-a", "shop"])?
        .expect(1, &["no release of app `shop` served before", "hint: "])?;
    source.manifest("services:\n  web:\n    command: exit 4\n    port: 3000\n")?;
    rack.deploy(&source.dir())?
        .expect(4, &["was rolled back"])?;
    source.manifest(&web("third", ""))?;
    rack.deployed(&source.dir())?;
    rack.ok(&["releases", "rollback", "-a", "shop"])?;
    ensure!(rack.get("shop.localhost", "/")?.text().starts_with("first"));
    Ok(())
}

/// A bad release as first deploy ends `failed`, over a good one `rolled-back`: the same reason, exit 4, and what served
/// goes on serving with the same process.
fn is_bad(manifest: &str, reason: &str, last_log: &str) -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", manifest)?;
    let first = rack.deploy(&source.dir())?;
    first.expect(4, &["FAILED", "ERROR: R", "failed: ", reason, "hint: "])?;
    if !last_log.is_empty() {
        first.expect(4, &["last log lines:", last_log])?;
    }
    let one_line = first
        .stderr
        .lines()
        .filter(|line| line.starts_with("ERROR: ") && line.contains(reason))
        .count();
    ensure!(one_line == 1, "the reason is one sentence\n{first}");
    ensure!(rack.json(&["apps", "info", "-a", "shop"])?["status"] == "failed");
    ensure!(rack.json(&["apps", "info", "-a", "shop"])?["release"].is_null());
    nothing_runs(&rack)?;

    source.manifest(&web("good", ""))?;
    let good = rack.deployed(&source.dir())?;
    let process = rack.processes("shop")?[0].0.clone();
    source.manifest(manifest)?;
    let second = rack.deploy(&source.dir())?;
    let serving = format!("serving: {good}, as before");
    second.expect(
        4,
        &[
            "FAILED",
            "was rolled back: ",
            reason,
            &serving,
            "hint: ",
            "look:    hoist promotions info",
        ],
    )?;
    if !last_log.is_empty() {
        second.expect(4, &["last log lines:", last_log])?;
    }
    ensure!(rack.get("shop.localhost", "/")?.text() == format!("good of {good} takes 0 bytes\n"));
    let now = rack.processes("shop")?;
    ensure!(
        now.len() == 1 && now[0].0 == process,
        "{process} should serve on: {now:?}"
    );
    let bad = rack.items(&["releases", "-a", "shop"])?[0].clone();
    ensure!(bad["status"] == "rolled-back", "{bad}");
    let promotion = rack.items(&["promotions", "-a", "shop"])?[0].clone();
    ensure!(
        promotion["outcome"] == "rolled-back"
            && promotion["reason"]
                .as_str()
                .is_some_and(|said| said.contains(reason)),
        "{promotion}"
    );
    Ok(())
}

fn nothing_runs(rack: &Rack) -> Result<()> {
    eventually(Duration::from_secs(5), || {
        let held = traces::held(rack.data());
        ensure!(held.is_empty(), "{held:?}");
        Ok(())
    })
}

fn never_listens() -> Result<()> {
    is_bad(
        "services:\n  web:\n    command: echo starting; exec sleep 1000\n    port: 3000\n    health: {path: /, grace: 2}\n",
        "web.1 was not ready within 2 s: it does not listen on $PORT",
        "starting",
    )
}

fn crashes_at_start() -> Result<()> {
    is_bad(
        "services:\n  web:\n    command: echo cannot open the database >&2; exit 3\n    port: 3000\n",
        "web.1 exited 3 times before it was ready (exit 3)",
        "cannot open the database",
    )
}

fn listens_elsewhere() -> Result<()> {
    is_bad(
        &web("lost --port 19763", ""),
        "web.1 listens on 19763, not on $PORT (",
        "lost listens on 19763",
    )
}

fn fails_its_health_path() -> Result<()> {
    is_bad(
        &web("sick --status 503", "health: {path: /up, grace: 2}"),
        "web.1 was not ready within 2 s: it answers GET /up with 503",
        "sick listens on",
    )
}

fn cannot_be_executed() -> Result<()> {
    is_bad(
        "services:\n  web:\n    command: [./not-there]\n    port: 3000\n",
        "web.1 could not be executed: is the command there?",
        "",
    )
}

fn a_release_command_that_fails() -> Result<()> {
    is_bad(
        &(web("good", "") + "release:\n  command: echo migrating; exit 6\n"),
        "the release command failed (exit 6)",
        // What it said was heard as it came.
        "",
    )
}
