//! Looking inside, and being wrong: ps, logs, misspelt words, an app or a rack that is not there.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::rack::eventually;
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "a_crash_leaves_its_last_words",
        a_crash_leaves_its_last_words,
    ),
    ("ps_shows_what_runs", ps_shows_what_runs),
    (
        "logs_outlive_processes_and_deploys",
        logs_outlive_processes_and_deploys,
    ),
    (
        "a_resize_that_fails_goes_back",
        a_resize_that_fails_goes_back,
    ),
    ("wrong_words_get_a_suggestion", wrong_words_get_a_suggestion),
    ("no_rack", no_rack),
    ("apps_outlive_the_rack", apps_outlive_the_rack),
    (
        "everything_stops_without_a_rack",
        everything_stops_without_a_rack,
    ),
];

fn a_crash_leaves_its_last_words() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    let id = rack.processes("shop")?[0].0.clone();
    let page = rack.get("shop.localhost", "/crash")?;
    ensure!(page.status == 502, "{}: {}", page.status, page.text());
    eventually(Duration::from_secs(10), || {
        let process = rack.items(&["ps", "-a", "shop"])?[0].clone();
        ensure!(
            process["id"] == id.as_str()
                && process["restarts"] == 1
                && process["status"] == "ready",
            "{process}"
        );
        Ok(())
    })?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    let logs = rack.ok(&["logs", "-a", "shop"])?.stdout;
    ensure!(
        logs.contains(&format!("service/web/{id} these are my last words")),
        "{logs}"
    );
    ensure!(logs.contains("exited with 7"), "{logs}");
    Ok(())
}

fn ps_shows_what_runs() -> Result<()> {
    let rack = rack()?;
    let source = Source::app("shop", &web("hello", "scale: {count: 2}"))?;
    let release = rack.deployed(&source.dir())?;
    let table = rack.ok(&["ps", "-a", "shop"])?;
    let lines: Vec<&str> = table.stdout.lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    ensure!(
        head == [
            "ID", "NAME", "STATUS", "RELEASE", "CPU", "MEM", "STARTED", "COMMAND"
        ],
        "{table}"
    );
    ensure!(lines.len() == 3 && table.stderr.is_empty(), "{table}");
    for line in &lines[1..] {
        let cells: Vec<&str> = line.split_whitespace().collect();
        ensure!(
            cells[0].len() == 12 && cells[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{line}"
        );
        ensure!(
            cells[1] == "web" && cells[2] == "ready" && cells[3] == release,
            "{line}"
        );
        ensure!(cells[4].ends_with('%') && cells[5].ends_with('%'), "{line}");
        ensure!(line.ends_with("./app hello"), "{line}");
    }
    // In the app's directory its name need not be said.
    let mut command = rack.command(&["ps"]);
    command.current_dir(source.dir());
    let here = crate::harness::rack::Ran::of(command, Duration::from_secs(10))?;
    ensure!(here.stdout.lines().count() == 3, "{here}");
    Ok(())
}

fn logs_outlive_processes_and_deploys() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "first")?;
    rack.deployed(&source.dir())?;
    rack.get("shop.localhost", "/say/remember-me")?;
    rack.get("shop.localhost", "/page?colour=blue")?;
    source.manifest(
        "services:\n  web:\n    command: ./app second\n    port: 3000\n    singleton: true\n",
    )?;
    rack.deployed(&source.dir())?;
    eventually(Duration::from_secs(5), || {
        let logs = rack.ok(&["logs", "-a", "shop"])?.stdout;
        for words in [
            "remember-me",
            "first listens on",
            "second listens on",
            "promote R",
            "is active",
        ] {
            ensure!(logs.contains(words), "no `{words}` in\n{logs}");
        }
        let access = logs.lines().find(|line| line.contains("GET /page"));
        ensure!(
            access.is_some_and(|line| line.contains("router") && line.contains(" 200 ")),
            "no access line\n{logs}"
        );
        let times: Vec<&str> = logs
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        ensure!(times.is_sorted(), "lines out of order\n{logs}");
        Ok(())
    })?;
    let some = rack.ok(&["logs", "-a", "shop", "-n", "2"])?.stdout;
    ensure!(some.lines().count() == 2, "{some}");
    let json = rack.ok(&["logs", "-a", "shop", "--json"])?.stdout;
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line)?;
    }
    Ok(())
}

/// `OK` means that the processes are there; one that cannot start brings the old size back, and the command says so.
fn a_resize_that_fails_goes_back() -> Result<()> {
    let rack = rack()?;
    let source = Source::app(
        "shop",
        &(web("hello", "") + "  worker:\n    command: exit 2\n    scale: {count: 0}\n"),
    )?;
    rack.deployed(&source.dir())?;
    let before = rack.processes("shop")?[0].0.clone();
    rack.hoist(&["scale", "web=3", "-a", "shop"])?
        .expect(0, &["Scaling web to 3... OK"])?;
    let grown = rack.processes("shop")?;
    ensure!(
        grown.len() == 3
            && grown[0].0 == before
            && grown.iter().all(|(_, status, _)| status == "ready"),
        "{grown:?}"
    );
    rack.hoist(&["scale", "worker=1", "-a", "shop"])?.expect(
        4,
        &[
            "FAILED",
            "worker of shop stays at 0: worker.1 exited 3 times",
        ],
    )?;
    ensure!(rack.processes("shop")?.len() == 3);
    rack.hoist(&["scale", "web=1", "-a", "shop"])?
        .expect(0, &["OK"])?;
    let left = rack.processes("shop")?;
    ensure!(left.len() == 1 && left[0].0 == before, "{left:?}");
    rack.hoist(&["scale", "wob=1", "-a", "shop"])?
        .expect(1, &["there is no service `wob`", "hint: "])?;
    Ok(())
}

fn wrong_words_get_a_suggestion() -> Result<()> {
    let rack = rack()?;
    rack.hoist(&["deply"])?.expect(
        2,
        &[
            "there is no command `hoist deply`",
            "hint: did you mean `hoist deploy`?",
        ],
    )?;
    rack.hoist(&["releases", "promot"])?
        .expect(2, &["did you mean `hoist releases promote`?"])?;
    rack.hoist(&["ps", "--jsno"])?
        .expect(2, &["did you mean `--json`?"])?;
    rack.hoist(&["ps", "-a", "nope"])?
        .expect(1, &["ERROR: there is no app `nope`", "hint: `hoist apps`"])?;
    rack.hoist(&["apps", "create", "nope"])?
        .expect(0, &["Creating app nope... OK"])?;
    rack.hoist(&["apps", "create", "nope"])?
        .expect(1, &["there is an app `nope` already"])?;
    rack.hoist(&["ps", "-a", "noep"])?.expect(
        1,
        &["ERROR: there is no app `noep`", "did you mean `nope`?"],
    )?;
    rack.hoist(&["releases", "promote", "-a", "nope"])?
        .expect(1, &["no release yet", "hoist deploy -a nope"])?;
    rack.hoist(&["builds", "info", "BAAAAAAAAAA", "-a", "nope"])?
        .expect(1, &["has no build BAAAAAAAAAA"])?;
    rack.hoist(&["deploy", "/not/there"])?
        .expect(1, &["/not/there", "hint: "])?;
    let empty = Source::empty("bare")?;
    rack.deploy(&empty.dir())?.expect(1, &["hint: "])?;
    let json = rack.hoist(&["ps", "-a", "other", "--json"])?;
    let error: serde_json::Value = serde_json::from_str(&json.stderr)?;
    ensure!(json.code == 1 && error["code"] == "app_not_found", "{json}");
    Ok(())
}

fn no_rack() -> Result<()> {
    let mut rack = Rack::idle(program())?;
    for command in [
        &["ps", "-a", "shop"][..],
        &["apps"],
        &["rack"],
        &["doctor"],
        &["logs", "-a", "shop"],
    ] {
        rack.hoist(command)?
            .expect(3, &["ERROR: no rack runs on", "hint: `hoist rack start`"])?;
    }
    let source = Source::web("shop", "hello")?;
    rack.deploy(&source.dir())?.expect(3, &["no rack runs"])?;
    rack.run()?;
    rack.kill()?;
    rack.hoist(&["apps"])?
        .expect(3, &["ERROR: ", "hint: ", "`hoist rack start`"])?;
    rack.hoist(&["version"])?.expect(0, &["0.1.0"])?;
    Ok(())
}

/// Stopping the rack leaves apps and router as they are; the next start takes them back without touching them.
fn apps_outlive_the_rack() -> Result<()> {
    let mut rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    let before = rack.processes("shop")?;
    rack.hoist(&["rack", "stop"])?
        .expect(0, &["Stopping rack... OK", "apps keep running"])?;
    rack.ended()?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    rack.hoist(&["ps", "-a", "shop"])?.expect(3, &[])?;
    rack.run()?;
    eventually(Duration::from_secs(5), || {
        let now = rack.processes("shop")?;
        ensure!(now == before, "{before:?} became {now:?}");
        Ok(())
    })?;
    rack.deployed(&source.dir())?;
    Ok(())
}

fn everything_stops_without_a_rack() -> Result<()> {
    let mut rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    rack.kill()?;
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    rack.hoist(&["rack", "stop", "--apps"])?.expect(
        0,
        &["No rack runs; stopping what it left... OK, 1 processes and the router"],
    )?;
    eventually(Duration::from_secs(5), || {
        let left = crate::harness::traces::left_by(rack.data());
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}
