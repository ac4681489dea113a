//! What a reboot costs: rack, router and every process die at once, and all apps have to answer again.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Row;
use crate::harness::rack::{eventually, free_address};
use crate::harness::{Rack, traces};
use crate::root;

const APPS: usize = 100;
const BAR: Duration = Duration::from_secs(10);
/// When it is given up.
const LIMIT: Duration = Duration::from_secs(120);
/// Apps that are deployed at once, to get there sooner.
const AT_ONCE: usize = 4;

/// Deploys `examples/hello` many times over, kills everything and starts the rack again.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let mut rack = Rack::start(binary)?;
    let names: Vec<String> = (1..=APPS).map(|n| format!("hello-{n}")).collect();
    let example = root()?.join("examples/hello");
    let example = example.to_str().context("the checkout's path is no text")?;
    std::thread::scope(|scope| {
        let deploying: Vec<_> = (0..AT_ONCE)
            .map(|first| {
                let (rack, names) = (&rack, &names);
                scope.spawn(move || -> Result<()> {
                    for name in names.iter().skip(first).step_by(AT_ONCE) {
                        rack.ok(&["deploy", example, "-a", name])?;
                    }
                    Ok(())
                })
            })
            .collect();
        deploying
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("panicked")))
    })?;
    rack.kill()?;
    traces::kill_left_by(rack.data());
    eventually(LIMIT, || {
        ensure!(
            traces::living(rack.data()).is_empty(),
            "not everything is dead"
        );
        Ok(())
    })?;
    let began = Instant::now();
    rack.run()?;
    let mut first = None;
    for name in &names {
        eventually(LIMIT, || {
            let answer = rack.get(&format!("{name}.localhost"), "/")?;
            ensure!(answer.status == 200, "{name}: {}", answer.text());
            Ok(())
        })?;
        first.get_or_insert_with(|| began.elapsed());
    }
    let all = began.elapsed();
    drop(rack);
    let plain = plain_starts(Path::new(example))?;
    Ok(vec![Row {
        what: format!("{APPS} apps of examples/hello answer after everything died at once"),
        bar: format!(
            "at most {} s from the start of rack and router",
            BAR.as_secs()
        ),
        measured: format!(
            "{:.1} s (the first after {:.1} s); started plainly, all at once, they listen after {:.1} s",
            all.as_secs_f64(),
            first.unwrap_or_default().as_secs_f64(),
            plain.as_secs_f64()
        ),
        reached: all <= BAR,
    }])
}

/// How long the same programs take without us, until all of them accept.
fn plain_starts(example: &Path) -> Result<Duration> {
    let addresses = (0..APPS)
        .map(|_| free_address())
        .collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut started = Vec::new();
    for address in &addresses {
        let child = Command::new("/usr/bin/python3")
            .arg("hello.py")
            .current_dir(example)
            .env("PORT", address.port().to_string())
            .stdout(Stdio::null())
            .spawn()?;
        started.push(child);
    }
    let listening = addresses
        .iter()
        .try_for_each(|address| eventually(LIMIT, || Ok(TcpStream::connect(address)?)).map(drop));
    let took = began.elapsed();
    for child in &mut started {
        child.kill()?;
        child.wait()?;
    }
    listening.map(|()| took)
}
