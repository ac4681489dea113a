//! What stands in `examples/` does what its words say, as a first deploy and over a release that works.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{Story, rack, stage};

pub(crate) const STORIES: &[Story] = &[
    ("hello_and_static_site", hello_and_static_site),
    ("python_web", python_web),
    ("node_web", node_web),
    ("broken_crashes", broken_crashes),
    ("broken_never_listens", broken_never_listens),
    ("broken_wrong_port", broken_wrong_port),
    ("broken_health", broken_health),
    ("every_example_is_told_here", every_example_is_told_here),
];

fn directory() -> PathBuf {
    let top = stage().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    top.join("examples")
}

fn example(name: &str) -> String {
    directory().join(name).to_string_lossy().into_owned()
}

fn hello_and_static_site() -> Result<()> {
    let rack = rack()?;
    for name in ["hello", "static-site"] {
        let ran = rack.hoist(&["deploy", &example(name)])?;
        ran.expect(0, &["Build:   B", "Release: R"])?;
        let page = rack.get(&format!("{name}.localhost"), "/")?;
        ensure!(
            page.status == 200 && !page.body.is_empty(),
            "{name}: {}",
            page.text()
        );
    }
    Ok(())
}

fn python_web() -> Result<()> {
    let rack = rack()?;
    let ran = rack.hoist(&["deploy", &example("python-web")])?;
    ran.expect(0, &["detected Python: requirements.txt is there"])?;
    let page = rack.get("python-web.localhost", "/")?.text();
    ensure!(
        page.starts_with("hello\nrelease R") && page.contains("/.venv/bin/python"),
        "{page}"
    );
    let mut services: Vec<_> = rack
        .items(&["ps", "-a", "python-web"])?
        .iter()
        .map(|process| process["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    services.sort();
    ensure!(services == ["web", "web", "worker"], "{services:?}");
    let log = rack.ok(&["logs", "-a", "python-web", "--no-follow"])?;
    ensure!(log.stdout.contains("preparing release R"), "{log}");
    Ok(())
}

fn node_web() -> Result<()> {
    let rack = rack()?;
    let ran = rack.hoist(&["deploy", &example("node-web")])?;
    ran.expect(
        0,
        &[
            "detected Node: package.json is there",
            "running npm ci",
            "made dist/page.html",
        ],
    )?;
    let page = rack.get("node-web.localhost", "/")?.text();
    ensure!(page.contains("<p>hello from Node</p>"), "{page}");
    Ok(())
}

/// The reason is one sentence, the process's own words follow, nothing takes longer than its limits, and `hello` serves on.
fn breaks(name: &str, reason: &str, last_log: &str, at_most: Duration) -> Result<()> {
    let rack = rack()?;
    let first = rack.hoist(&["deploy", &example(name)])?;
    first.expect(
        4,
        &[
            "FAILED",
            "failed: ",
            reason,
            "last log lines:",
            last_log,
            "hint: ",
        ],
    )?;
    ensure!(rack.json(&["apps", "info", "-a", name])?["status"] == "failed");
    rack.ok(&["deploy", &example("hello"), "-a", "shop"])?;
    let good = rack.get("shop.localhost", "/")?.text();
    let process = rack.processes("shop")?[0].0.clone();
    let began = Instant::now();
    let over = rack.hoist(&["deploy", &example(name), "-a", "shop"])?;
    over.expect(
        4,
        &[
            "FAILED",
            "was rolled back: ",
            reason,
            "last log lines:",
            last_log,
            ", as before",
            "hint: ",
        ],
    )?;
    ensure!(
        began.elapsed() < at_most,
        "it took {:?}\n{over}",
        began.elapsed()
    );
    ensure!(rack.get("shop.localhost", "/")?.text() == good);
    let now = rack.processes("shop")?;
    ensure!(
        now.len() == 1 && now[0].0 == process && now[0].1 == "ready",
        "{now:?}"
    );
    Ok(())
}

fn broken_crashes() -> Result<()> {
    let reason = "web.1 exited 3 times before it was ready (exit 1)";
    breaks(
        "broken-crashes",
        reason,
        "connecting to the database",
        Duration::from_secs(10),
    )
}

fn broken_never_listens() -> Result<()> {
    let reason = "web.1 was not ready within 3 s: it does not listen on $PORT";
    breaks(
        "broken-never-listens",
        reason,
        "loading the model",
        Duration::from_secs(12),
    )
}

fn broken_wrong_port() -> Result<()> {
    breaks(
        "broken-wrong-port",
        ", not on $PORT (",
        "listening on ",
        Duration::from_secs(10),
    )
}

fn broken_health() -> Result<()> {
    let reason = "web.1 was not ready within 3 s: it answers GET /health with 503";
    breaks(
        "broken-health",
        reason,
        "migrations are missing",
        Duration::from_secs(12),
    )
}

fn every_example_is_told_here() -> Result<()> {
    let here = include_str!("examples.rs");
    for entry in std::fs::read_dir(directory())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        ensure!(
            !entry.file_type()?.is_dir() || here.contains(&format!("\"{name}\"")),
            "no story of examples/{name}"
        );
    }
    Ok(())
}
