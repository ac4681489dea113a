//! What a deploy of a large tree sends, and how soon it knows that nothing changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Row, spread};
use crate::harness::{Rack, Source};

/// Small files of the tree, of 8 KiB each.
const SMALL: usize = 9_600;
/// Large files of the tree, of 5 MiB each.
const LARGE: usize = 5;
/// How often a redeploy is measured.
const TIMES: usize = 7;

/// Measures a first deploy, a redeploy of nothing new, and one of one changed file.
pub(super) fn run(binary: &Path) -> Result<Vec<Row>> {
    let rack = Rack::start(binary)?;
    let source = Source::web("shop", "first")?;
    let bytes = fill(&source.dir())?;
    let peer = piped(&source.dir(), &rack.home().join("peer"))?;
    let began = Instant::now();
    rack.deployed(&source.dir())?;
    let first = began.elapsed();
    let megabytes = bytes as f64 / 1e6;
    let mut rows = vec![Row {
        what: format!(
            "first deploy of {megabytes:.0} MB in {} files: command to active",
            SMALL + LARGE
        ),
        bar: "none".to_owned(),
        measured: format!(
            "{} ms (`tar | tar` beside it: {} ms)",
            first.as_millis(),
            peer.as_millis()
        ),
        reached: true,
    }];
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let ran = rack.deploy(&source.dir())?;
        ran.expect(0, &["OK (nothing new)", "is active already"])?;
        times.push(ran.took);
    }
    let measured = spread(&mut times);
    rows.push(Row {
        what: format!(
            "redeploy of the unchanged {megabytes:.0} MB: whole command, which sends no content"
        ),
        bar: "at most 1 s to the decision, nothing sent twice".to_owned(),
        measured,
        reached: times[times.len() / 2] <= Duration::from_secs(1),
    });
    let mut times = Vec::new();
    for n in 0..TIMES {
        fs::write(source.dir().join("changing"), format!("{n}\n"))?;
        let ran = rack.deploy(&source.dir())?;
        ran.expect(0, &["OK (1 of ", "Promoting R"])?;
        times.push(ran.took);
    }
    rows.push(Row {
        what: "redeploy with one changed file: command to active".to_owned(),
        bar: "none".to_owned(),
        measured: spread(&mut times),
        reached: true,
    });
    Ok(rows)
}

/// Writes the tree, every file with its own content. Answers its bytes.
fn fill(dir: &Path) -> Result<u64> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = |bytes: usize| {
        let mut content = Vec::with_capacity(bytes);
        while content.len() < bytes {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            content.extend_from_slice(&seed.to_le_bytes());
        }
        content
    };
    let mut bytes = 0;
    let files = (0..SMALL)
        .map(|n| (format!("small/{}/{n}", n % 100), 8 << 10))
        .chain((0..LARGE).map(|n| (format!("large/{n}"), 5 << 20)));
    for (name, size) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, content(size))?;
        bytes += size as u64;
    }
    Ok(bytes)
}

/// What packing, a pipe and unpacking take alone.
fn piped(from: &Path, to: &Path) -> Result<Duration> {
    fs::create_dir(to)?;
    let began = Instant::now();
    let mut pack = Command::new("tar")
        .args(["-cf", "-", "."])
        .current_dir(from)
        .stdout(Stdio::piped())
        .spawn()?;
    let packed = pack.stdout.take().context("no pipe")?;
    let unpacked = Command::new("tar")
        .args(["-xf", "-"])
        .current_dir(to)
        .stdin(packed)
        .status()?;
    ensure!(unpacked.success() && pack.wait()?.success(), "tar failed");
    Ok(began.elapsed())
}
