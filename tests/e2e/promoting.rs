//! Promotions as whoever waits for them sees them: what is said before, meanwhile and at the end, and how to change one's mind.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::rack::{eventually, wait};
use crate::harness::terminal::Terminal;
use crate::harness::{Rack, Source};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[
    ("an_interrupt_asks", an_interrupt_asks),
    (
        "an_interrupt_without_a_terminal",
        an_interrupt_without_a_terminal,
    ),
    ("cancelling", cancelling),
    (
        "what_is_waited_for_is_said_once",
        what_is_waited_for_is_said_once,
    ),
    (
        "a_command_that_fails_is_heard_once",
        a_command_that_fails_is_heard_once,
    ),
    ("a_rack_is_named", a_rack_is_named),
];

/// A process that listens to nobody, for as long as it is let.
const NEVER: &str = "services:\n  web:\n    command: sleep 1000\n    port: 3000\n";
/// How long a cancelled promotion may take to its end.
const ENDS: Duration = Duration::from_secs(30);
const QUESTION: &str = "keep watching (Enter)? ";

/// A rack with an app that serves, and a release of it that never becomes ready.
fn shop() -> Result<(Rack, Source, String)> {
    let rack = rack()?;
    let source = Source::web("shop", "good")?;
    rack.deployed(&source.dir())?;
    source.manifest(NEVER)?;
    let dir = source.dir();
    let dir = dir.to_str().context("no text")?;
    let built = rack.ok(&["build", dir])?;
    let release = built.release()?.to_owned();
    Ok((rack, source, release))
}

/// The number of the promotion in flight.
fn in_flight(rack: &Rack) -> Result<Option<String>> {
    let app = rack.json(&["apps", "info", "shop"])?;
    Ok(app["promotion"].as_str().map(str::to_owned))
}

fn ends(rack: &Rack) -> Result<()> {
    eventually(ENDS, || {
        let number = in_flight(rack)?;
        ensure!(number.is_none(), "promotion {number:?} is in flight");
        Ok(())
    })
}

fn an_interrupt_asks() -> Result<()> {
    let (rack, _source, release) = shop()?;
    let command = rack.command(&["promote", &release, "-a", "shop"]);
    let begun = || -> Result<Terminal> {
        let mut terminal = Terminal::run(&command, 100, 40)?;
        terminal.shows("web.1 started")?;
        // Before the block is drawn, or after: it makes no difference.
        terminal.types("\x03")?;
        terminal.shows(QUESTION)?;
        ensure!(!terminal.is_raw()?, "the terminal was changed");
        Ok(terminal)
    };
    // What is no answer is asked again; Enter goes on; the block comes back.
    let mut terminal = begun()?;
    terminal.types("what\r")?;
    terminal.shows(QUESTION)?;
    terminal.types("\r")?;
    terminal.shows("0/1 ready")?;
    terminal.types("\x03")?;
    terminal.shows(QUESTION)?;
    terminal.types("c\r")?;
    terminal.shows("Cancelling promotion ")?;
    terminal.shows("rolling back: a user cancelled it")?;
    terminal.shows("was cancelled")?;
    terminal.shows("as before")?;
    ensure!(terminal.ended()? == 4);
    ensure!(in_flight(&rack)?.is_none());
    // It goes on without whoever leaves, by word or by a second Ctrl-C.
    for leaves in ["l\r", "\x03"] {
        let mut terminal = begun()?;
        terminal.types(leaves)?;
        terminal.shows("the promotion goes on: `hoist promotions info ")?;
        ensure!(terminal.ended()? == 130);
        ensure!(in_flight(&rack)?.is_some(), "it should go on");
        rack.ok(&["cancel", "-a", "shop"])?;
        ends(&rack)?;
    }
    // A promotion that ends meanwhile needs no answer.
    let mut terminal = begun()?;
    rack.ok(&["cancel", "-a", "shop"])?;
    terminal.shows("was cancelled")?;
    ensure!(terminal.ended()? == 4);
    // The same for whoever deploys; `up` sees to its signals itself.
    let dir = _source.dir();
    let dir = dir.to_str().context("no text")?;
    for words in [&["deploy", dir, "--rebuild"][..], &["up", dir, "--rebuild"]] {
        let mut terminal = Terminal::run(&rack.command(words), 100, 40)?;
        terminal.shows("web.1 started")?;
        terminal.types("\x03")?;
        terminal.shows(QUESTION)?;
        terminal.types("c\r")?;
        terminal.shows("was cancelled")?;
        ensure!(terminal.ended()? == 4);
    }
    ensure!(rack.get("shop.localhost", "/")?.status == 200);
    Ok(())
}

fn an_interrupt_without_a_terminal() -> Result<()> {
    let (rack, _source, release) = shop()?;
    let mut command = rack.command(&["promote", &release, "-a", "shop"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let errors = child.stderr.take().context("no pipe")?;
    let mut lines = BufReader::new(errors).lines();
    while !lines.next().context("it ended")??.contains("web.1 started") {}
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
    let said: String = lines.map_while(Result::ok).collect();
    ensure!(wait(child, ENDS)? == 130);
    ensure!(
        said.contains("the promotion goes on") && said.contains("`hoist cancel -a shop` ends it"),
        "{said}"
    );
    ensure!(in_flight(&rack)?.is_some(), "it should go on");
    rack.ok(&["cancel", "-a", "shop"])?;
    ends(&rack)
}

fn what_is_waited_for_is_said_once() -> Result<()> {
    let (rack, _source, release) = shop()?;
    let ran = rack.hoist(&["promote", &release, "-a", "shop", "--timeout", "3"])?;
    ran.expect(
        4,
        &["Status: running => updating", "it took longer than 3 s"],
    )?;
    let waits = ran.stderr.lines().filter(|line| {
        line.contains("system/local/web.1 waits for web.1 to become ready: it does not listen")
    });
    ensure!(waits.count() == 1, "{ran}");
    // Going back names where to before it begins, and begins only where it may.
    let refused = rack.hoist(&["rollback", "-a", "shop"])?;
    refused.expect(1, &["no release of app `shop` served before", "hint: "])?;
    ensure!(!refused.stderr.contains("Rolling back"), "{refused}");
    Ok(())
}

fn a_command_that_fails_is_heard_once() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "good")?;
    let manifest =
        "release: echo no table; exit 3\nservices:\n  web:\n    command: ./app\n    port: 3000\n";
    source.manifest(manifest)?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        4,
        &["the release command failed (exit 3)", "serving: nothing"],
    )?;
    let heard = ran
        .stderr
        .lines()
        .filter(|line| line.ends_with(" no table"));
    ensure!(heard.count() == 1, "{ran}");
    Ok(())
}

fn a_rack_is_named() -> Result<()> {
    let rack = rack()?;
    let data = rack.data().to_str().context("no text")?.to_owned();
    let mut command = rack.command(&["apps", "--rack", &data]);
    ensure!(
        command
            .env_remove("HOIST_DATA_DIR")
            .output()?
            .status
            .success()
    );
    let url = format!("http://:{}@127.0.0.1:1", rack.token()?);
    for named in [url.as_str(), "/not/there"] {
        rack.hoist(&["apps", "-r", named])?.expect(3, &["hint: "])?;
    }
    let mut command = rack.command(&["apps"]);
    let ran = command.env("HOIST_RACK", "/not/there").output()?;
    ensure!(ran.status.code() == Some(3), "{ran:?}");
    rack.hoist(&["apps", "-r", &data, "--data-dir", &data])?
        .expect(2, &["hint: "])
}

fn cancelling() -> Result<()> {
    let (rack, _source, release) = shop()?;
    rack.hoist(&["apps", "cancel", "shop"])?
        .expect(1, &["no promotion of app `shop` is in flight", "hint: "])?;
    rack.ok(&["promote", &release, "-a", "shop", "--detach"])?;
    let cancelled = rack.ok(&["apps", "cancel", "shop"])?;
    cancelled.expect(0, &["Cancelling... OK, promotion ", " goes back"])?;
    ends(&rack)?;
    let listed = rack.ok(&["promotions", "-a", "shop"])?.stdout;
    let mut lines = listed.lines();
    let header = lines.next().context("no header")?;
    for column in [
        "NUMBER", "RELEASE", "OUTCOME", "DURATION", "ACTOR", "REASON",
    ] {
        ensure!(header.contains(column), "{listed}");
    }
    let newest = lines.next().context("no promotion")?;
    ensure!(
        newest.contains(&release) && newest.contains("cancelled") && newest.contains("admin"),
        "{listed}"
    );
    Ok(())
}
