//! Old releases go, with what they take on the disk; what anybody needs stays, and volumes always.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::rack::eventually;
use crate::harness::source::web;
use crate::harness::{Rack, Source};
use crate::{Story, rack};

pub(crate) const STORIES: &[Story] = &[(
    "old_releases_go_and_what_matters_stays",
    old_releases_go_and_what_matters_stays,
)];

/// What each build brings that no other has.
const OWN_BYTES: usize = 1 << 20;

const VOLUME: &str = "volumes: [uploads:/data/uploads]";

/// Builds, each followed by a change of a variable, all promoted; their releases, oldest first.
fn history(rack: &Rack, builds: u8) -> Result<Vec<String>> {
    let source = Source::web("shop", "build")?;
    let mut releases = Vec::new();
    for number in 1..=builds {
        source.manifest(&web(&format!("build{number}"), VOLUME))?;
        fs::write(source.dir().join("own"), vec![number; OWN_BYTES])?;
        releases.push(rack.deployed(&source.dir())?);
        let variable = format!("N={number}");
        let set = rack.ok(&["env", "set", &variable, "-a", "shop", "--promote"])?;
        releases.push(set.release()?.to_owned());
    }
    Ok(releases)
}

/// Bytes that files below a directory take on the disk, each counted once. What goes away meanwhile takes none.
fn taken(dir: &Path, seen: &mut HashSet<u64>) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += taken(&entry.path(), seen),
            Ok(meta) if seen.insert(meta.ino()) => bytes += meta.blocks() * 512,
            Ok(_) | Err(_) => {}
        }
    }
    bytes
}

/// Ids of one kind in what `prune --json` printed.
fn ids(pruned: &Value, kind: &str) -> Vec<String> {
    let items = pruned["items"].as_array().into_iter().flatten();
    let items = items.filter(|item| item["kind"] == kind);
    items
        .filter_map(|item| item["id"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until exactly these releases would go: before, old processes of theirs are kept warm.
fn would_go(rack: &Rack, releases: &[String]) -> Result<Value> {
    eventually(Duration::from_secs(120), || {
        let told = rack.json(&["releases", "prune", "--dry-run", "-a", "shop"])?;
        ensure!(ids(&told, "release") == releases, "{told}");
        Ok(told)
    })
}

fn builds(rack: &Rack) -> Result<Vec<String>> {
    let listed = rack.items(&["builds", "-a", "shop"])?;
    let ids = listed.iter().filter_map(|build| build["id"].as_str());
    let mut ids: Vec<_> = ids.map(str::to_owned).collect();
    ids.sort();
    Ok(ids)
}

fn slugs(rack: &Rack) -> Result<Vec<String>> {
    let mut slugs = Vec::new();
    for slug in fs::read_dir(rack.data().join("apps/shop/slugs"))? {
        slugs.push(slug?.file_name().to_string_lossy().into_owned());
    }
    slugs.sort();
    Ok(slugs)
}

fn old_releases_go_and_what_matters_stays() -> Result<()> {
    let rack = rack()?;
    let all = history(&rack, 6)?;
    rack.ok(&["apps", "params", "set", "keep=3", "-a", "shop"])?;
    let run = |words: &str| rack.ok(&["run", "-a", "shop", "web", words]);
    run("echo pixels > /data/uploads/photo")?;
    let one_off = rack.ok(&[
        "run",
        "--detach",
        "--release",
        &all[0],
        "-a",
        "shop",
        "web",
        "sleep 1000",
    ])?;

    // Kept: the newest three, one more way back, and what the one-off runs.
    let told = would_go(&rack, &all[1..8])?;
    ensure!(ids(&told, "build").len() == 3, "{told}");
    ensure!(told["needed"] == 2, "{told}");
    ensure!(slugs(&rack)?.len() == 6 && slugs(&rack)? == builds(&rack)?);
    ensure!(rack.items(&["releases", "-a", "shop"])?.len() == 12);

    let before = taken(rack.data(), &mut HashSet::new());
    let pruned = rack.ok(&["releases", "prune", "-a", "shop"])?;
    pruned.expect(
        0,
        &[
            "APP   KIND     ID",
            &format!("shop  release  {}", all[1]),
            "not among the newest 3",
            "no release that is kept has it",
            "freed ",
            ": 7 releases, 3 builds",
            "2 older releases stay: ",
        ],
    )?;
    let after = taken(rack.data(), &mut HashSet::new());
    let freed = before.saturating_sub(after);
    ensure!(freed >= 2 * OWN_BYTES as u64, "{before} to {after}");
    for build in ids(&told, "build") {
        ensure!(!slugs(&rack)?.contains(&build), "{build} is there");
    }
    ensure!(slugs(&rack)?.len() == 3 && slugs(&rack)? == builds(&rack)?);
    rack.ok(&["releases", "prune", "-a", "shop"])?
        .expect(0, &["nothing to free", "2 older releases stay: "])?;

    gone_by_name(&rack, &all)?;
    let id = one_off.stdout.trim();
    rack.ok(&["ps", "stop", id, "-a", "shop"])?;
    let told = would_go(&rack, &all[..1])?;
    rack.ok(&["releases", "prune", "--all"])?
        .expect(0, &[": 1 release, 1 build"])?;
    ensure!(!slugs(&rack)?.contains(&ids(&told, "build")[0]));

    // The way back is there, and so is what people brought.
    let back = rack.ok(&["rollback", &all[8], "-a", "shop"])?;
    back.expect(0, &["OK, R"])?;
    let text = rack.get("shop.localhost", "/")?.text();
    ensure!(text.starts_with("build5 of R"), "{text}");
    ensure!(rack.get("shop.localhost", "/env/N")?.text() == "4");
    let photo = run("cat /data/uploads/photo")?;
    ensure!(photo.stdout == "pixels\n", "{photo}");
    Ok(())
}

/// What is asked of a release that is gone says so, and what came of it is shown.
fn gone_by_name(rack: &Rack, all: &[String]) -> Result<()> {
    let gone = all[7].as_str();
    let asked: [&[&str]; 5] = [
        &["releases", "info", gone],
        &["releases", "diff", gone],
        &["releases", "promote", gone],
        &["rollback", gone],
        &["run", "--release", gone],
    ];
    for words in asked {
        let command: &[&str] = match words[0] {
            "run" => &["-a", "shop", "web", "true"],
            _ => &["-a", "shop"],
        };
        rack.hoist(&[words, command].concat())?.expect(
            1,
            &[
                &format!("app `shop` has no release {gone}"),
                "hint: `hoist releases -a shop` lists what is kept; older ones are collected",
            ],
        )?;
    }
    let child = rack.json(&["releases", "info", &all[8], "-a", "shop"])?;
    ensure!(child["parent"] == gone, "{child}");
    rack.ok(&["releases", "diff", &all[8], "-a", "shop"])?
        .expect(0, &["Against", "change:N"])?;
    let text = rack.get("shop.localhost", "/")?.text();
    text.starts_with(&format!("build6 of {}", all[11]))
        .then_some(())
        .context(text)
}
