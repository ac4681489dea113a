//! A rack of the size that the bars are about: one app with 10,000 releases and many others with a few each.
//!
//! Everything in it was asked for as a user asks: deployed, set, promoted and rolled back by the binary that is measured.
//! That takes minutes, so the data directory is kept beside this program and copied; delete it to have it made again.
//! Services have the size 0, so apps have an active release and no process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::http::{Answer, Conn};
use crate::harness::{Rack, Source};

/// The app that has most releases.
pub(super) const BIG: &str = "big";
/// Its releases.
pub(super) const BIG_RELEASES: usize = 10_000;
/// The apps beside it.
pub(super) const OTHERS: usize = 999;
/// The releases of each of them.
pub(super) const OTHER_RELEASES: usize = 20;
/// Releases between one deploy and the next.
const ROUND: usize = 20;
/// Connections that fill the rack at once: the big app has one of its own.
const AT_ONCE: usize = 4;

const MANIFEST: &str =
    "services:\n  web:\n    command: sleep infinity\n    port: 3000\n    scale: 0\n";
/// `BROKEN` makes the release command fail, and so the promotion.
const RELEASE_COMMAND: &str = "release: test -z \"$BROKEN\"\n";

/// A rack that has all of it, and does not run yet.
pub(super) fn rack(binary: &Path) -> Result<Rack> {
    let kept = kept()?;
    if !kept.exists() {
        fill(binary, &kept)?;
    }
    let rack = Rack::idle(binary)?;
    copy(&kept, rack.data())?;
    Ok(rack)
}

/// Beside this program, in the target directory: there it may stay.
fn kept() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().context("this program lies nowhere")?;
    Ok(dir.join(format!(
        "bench-rack-{BIG_RELEASES}-{OTHERS}x{OTHER_RELEASES}"
    )))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}

fn fill(binary: &Path, kept: &Path) -> Result<()> {
    let began = Instant::now();
    eprintln!("Filling a rack, once: this takes minutes...");
    let mut rack = Rack::start(binary)?;
    std::thread::scope(|scope| {
        let rack = &rack;
        let mut filling = vec![scope.spawn(move || big(rack))];
        filling.extend((0..AT_ONCE).map(|first| {
            scope.spawn(move || {
                (first..OTHERS)
                    .step_by(AT_ONCE)
                    .try_for_each(|n| other(rack, n + 1))
            })
        }));
        filling
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("panicked")))
    })?;
    let left = rack.stop_all()?;
    ensure!(left.is_empty(), "left over: {left:?}");
    let half = kept.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    copy(rack.data(), &half)?;
    fs::rename(&half, kept)?;
    eprintln!("... {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// An app with its releases: a build and changes of variables. Every fourth one has a second build, and every tenth a
/// promotion that failed.
fn other(rack: &Rack, number: usize) -> Result<()> {
    let fails = number.is_multiple_of(10);
    let mut app = Filling::new(rack, &format!("other-{number}"), fails)?;
    app.deploy()?;
    app.set_many(OTHER_RELEASES / 2)?;
    if fails {
        app.fail()?;
    }
    if number.is_multiple_of(4) {
        app.deploy()?;
    }
    app.set_many(OTHER_RELEASES - app.made)
}

/// The app that has most: rounds of a deploy, changes of variables and a promotion of them, some of which fail or are gone
/// back from.
fn big(rack: &Rack) -> Result<()> {
    let mut app = Filling::new(rack, BIG, true)?;
    app.deploy()?;
    // Old releases would be collected otherwise.
    rack.ok(&["apps", "params", "set", "keep=all", "-a", BIG])?;
    app.set_many(ROUND - 1)?;
    for round in 1..BIG_RELEASES / ROUND {
        let end = app.made + ROUND;
        app.deploy()?;
        app.set_many(ROUND / 2)?;
        match round % 10 {
            3 | 8 => app.fail()?,
            5 => app.roll_back()?,
            _ => app.promote()?,
        }
        app.set_many(end - app.made)?;
    }
    Ok(())
}

/// An app that is being filled.
struct Filling<'r> {
    rack: &'r Rack,
    source: Source,
    api: Api,
    /// Releases that it has.
    made: usize,
}

impl<'r> Filling<'r> {
    fn new(rack: &'r Rack, name: &str, fails: bool) -> Result<Self> {
        let source = Source::empty(name)?;
        let command = if fails { RELEASE_COMMAND } else { "" };
        source.manifest(&format!("{command}{MANIFEST}"))?;
        Ok(Self {
            rack,
            source,
            api: Api::open(rack)?,
            made: 0,
        })
    }

    /// Changes the source and deploys it.
    fn deploy(&mut self) -> Result<()> {
        self.source.write("version", &self.made.to_string())?;
        self.rack.deployed(&self.source.dir())?;
        self.made += 1;
        Ok(())
    }

    fn set(&mut self) -> Result<String> {
        let name = format!("VARIABLE_{}", self.made % 12);
        let value = format!("a value of an ordinary length, number {}", self.made);
        self.made += 1;
        self.api.set(self.source.name(), &name, &value)
    }

    fn set_many(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.set().map(drop))
    }

    /// Promotes what is staged.
    fn promote(&mut self) -> Result<()> {
        let args = ["releases", "promote", "-a", self.source.name()];
        self.rack.ok(&args).map(drop)
    }

    /// Stages what cannot be promoted, and tries.
    fn fail(&mut self) -> Result<()> {
        let release = self.api.set(self.source.name(), "BROKEN", "yes")?;
        self.made += 1;
        let args = ["releases", "promote", &release, "-a", self.source.name()];
        let ran = self.rack.hoist(&args)?;
        ensure!(ran.code == 4, "the promotion should fail\n{ran}");
        Ok(())
    }

    fn roll_back(&mut self) -> Result<()> {
        self.made += 1;
        let args = ["releases", "rollback", "-a", self.source.name()];
        self.rack.ok(&args).map(drop)
    }
}

/// One connection to the API.
pub(super) struct Api {
    connection: Conn,
    token: String,
}

impl Api {
    pub(super) fn open(rack: &Rack) -> Result<Self> {
        Ok(Self {
            connection: Conn::open(rack.api)?,
            token: rack.token()?,
        })
    }

    /// Asks for something and reads the whole answer.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = format!(
            "{method} /v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.connection.send(request.as_bytes())?;
        let answer = self.connection.answer()?;
        let text = || answer.text();
        ensure!(answer.status < 300, "{method} {path}: {}", text());
        Ok(answer)
    }

    /// Sets a variable of an app; answers the release.
    pub(super) fn set(&mut self, app: &str, name: &str, value: &str) -> Result<String> {
        let body = serde_json::json!({ "set": { name: value } });
        let answer = self.ask("PATCH", &format!("/apps/{app}/env"), &body)?;
        let release: Value = serde_json::from_slice(&answer.body)?;
        let id = release["id"].as_str().context("no id")?;
        Ok(id.to_owned())
    }
}

/// How long a call of the API takes, so many times.
pub(super) fn calls(times: usize, mut call: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    (0..times)
        .map(|_| {
            let began = Instant::now();
            call()?;
            Ok(began.elapsed())
        })
        .collect()
}
