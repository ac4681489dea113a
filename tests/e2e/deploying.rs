//! From a directory to a served app: up, deploy, build, promote.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::rack::{eventually, wait};
use crate::harness::source::web;
use crate::harness::{Rack, Source, traces};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "up_serves_and_a_second_up_deploys",
        up_serves_and_a_second_up_deploys,
    ),
    (
        "deploy_creates_the_app_and_serves",
        deploy_creates_the_app_and_serves,
    ),
];

/// `hoist up` starts a rack in the foreground; Ctrl-C stops it and what it started.
fn up_serves_and_a_second_up_deploys() -> Result<()> {
    let rack = Rack::idle(program())?;
    let source = Source::web("hello", "first")?;
    let dir = source.dir();
    let mut up = rack
        .command(&["up", &dir.to_string_lossy()])
        .args(rack.flags())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(rack.home().join("up.err"))?)
        .spawn()?;
    let mut said = Vec::new();
    for line in BufReader::new(up.stdout.take().unwrap()).lines() {
        said.push(line?);
        if said.last().is_some_and(|line| line.starts_with("Url:")) {
            break;
        }
    }
    let port = rack.router.port();
    ensure!(
        said.contains(&format!("Url:     http://hello.localhost:{port}")),
        "{said:?}"
    );
    ensure!(
        said.iter()
            .any(|line| line.starts_with("Release: R") && line.len() == 20),
        "{said:?}"
    );
    ensure!(
        rack.get("hello.localhost", "/")?
            .text()
            .starts_with("first of R")
    );

    source.manifest(&web("second", ""))?;
    let second = rack.hoist(&["up", &dir.to_string_lossy()])?;
    second.expect(
        0,
        &[
            "a rack runs already: deploying to",
            "Build:   B",
            "Release: R",
            "Url:",
            "Try: hoist ps -a hello",
        ],
    )?;
    ensure!(
        rack.get("hello.localhost", "/")?.text()
            == format!("second of {} takes 0 bytes\n", second.release()?)
    );
    ensure!(rack.items(&["releases", "-a", "hello"])?.len() == 2);

    kill(Pid::from_raw(up.id() as i32), Signal::SIGINT)?;
    let began = Instant::now();
    let code = wait(up, Duration::from_secs(30))?;
    let words = std::fs::read_to_string(rack.home().join("up.err"))?;
    ensure!(code == 0, "exit {code} after Ctrl-C: {words}");
    ensure!(
        began.elapsed() < Duration::from_secs(5),
        "Ctrl-C took {:?}",
        began.elapsed()
    );
    for line in [
        "Starting rack... OK",
        "Creating app hello... OK",
        "web 1 (health: GET /)",
        "Stopping rack and apps... OK",
    ] {
        ensure!(words.contains(line), "no `{line}` in\n{words}");
    }
    eventually(Duration::from_secs(3), || {
        let left = traces::left_by(rack.data());
        ensure!(left.is_empty(), "left over: {left:?}");
        Ok(())
    })
}

fn deploy_creates_the_app_and_serves() -> Result<()> {
    let mut rack = rack()?;
    let source = Source::web("shop", "hello")?;
    let refused = rack.hoist(&["deploy", &source.dir().to_string_lossy(), "--no-create"])?;
    refused.expect(1, &["there is no app `shop`", "hint: "])?;
    let ran = rack.deploy(&source.dir())?;
    ran.expect(
        0,
        &[
            "Creating app shop... OK",
            "Build:   B",
            "Release: R",
            "Promoting R",
        ],
    )?;
    ensure!(ran.stderr.trim_end().ends_with("OK"), "{ran}");
    let release = ran.release()?;
    ensure!(
        rack.get("shop.localhost", "/")?.text() == format!("hello of {release} takes 0 bytes\n")
    );
    let left = rack.stop_all()?;
    ensure!(left.is_empty(), "left over: {left:?}");
    Ok(())
}
