//! The crate graph, licences and bans, all from `cargo metadata`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Which crates of ours a crate of ours may depend on. A crate that is missing here is a decision that is missing.
const EDGES: &[(&str, &[&str])] = &[
    ("hoist-api", &[]),
    ("hoist-core", &[]),
    ("hoist-engine", &["hoist-core"]),
    ("hoist-router", &["hoist-core"]),
    (
        "hoist-rack",
        &["hoist-api", "hoist-core", "hoist-engine", "hoist-router"],
    ),
    ("hoist-cli", &["hoist-api", "hoist-core"]),
    (
        "hoist",
        &[
            "hoist-api",
            "hoist-cli",
            "hoist-core",
            "hoist-engine",
            "hoist-rack",
            "hoist-router",
        ],
    ),
    ("xtask", &["hoist-api"]),
];

/// All that may be below the crate of decisions: nothing that does I/O, reads a clock or draws randomness.
const BELOW_CORE: &[&str] = &["serde", "serde-saphyr", "shlex", "strsim", "thiserror"];

/// What must not be linked, and why.
const BANS: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls"),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    (
        "aws-lc-rs",
        "the provider is ring: this one takes five times as long to build",
    ),
    (
        "aws-lc-sys",
        "the provider is ring: this one takes five times as long to build",
    ),
    ("pingora", "the router is hyper: it needs half the CPU"),
    ("pingora-core", "the router is hyper: it needs half the CPU"),
    ("actix-web", "the server is axum"),
    (
        "serde_yaml",
        "no longer kept; manifests are read by serde-saphyr",
    ),
];

/// Licences that may be linked into a binary under Apache-2.0.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Where every dependency has its reason.
const REASONS: &str = "docs/decisions/0001-dependencies.md";

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let packages = metadata["packages"]
        .as_array()
        .context("metadata without packages")?;
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .context("metadata without members")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let ours = |package: &&Value| {
        package["id"]
            .as_str()
            .is_some_and(|id| members.contains(id))
    };

    let mut found = Vec::new();
    let mut direct = BTreeSet::new();
    for package in packages.iter().filter(ours) {
        found.extend(edges(package));
        direct.extend(dependencies(package).map(|(name, _)| name.to_owned()));
    }
    for package in packages.iter().filter(|package| !ours(package)) {
        let name = package["name"].as_str().unwrap_or_default();
        found.extend(ban(name));
        found.extend(licence(name, package["license"].as_str()));
    }
    let reasons =
        fs::read_to_string(root.join(REASONS)).with_context(|| format!("cannot read {REASONS}"))?;
    found.extend(unexplained(&direct, &reasons));
    Ok(found)
}

/// What this machine would build: other platforms' crates are neither downloaded nor judged.
fn metadata(root: &Path) -> Result<Value> {
    let version = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say its host")?;
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--filter-platform",
            host,
        ])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")
}

/// Direct dependencies as (name, only for tests).
fn dependencies(package: &Value) -> impl Iterator<Item = (&str, bool)> {
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|dependency| {
            let name = dependency["name"].as_str()?;
            Some((name, dependency["kind"].as_str() == Some("dev")))
        })
}

fn edges(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
        return vec![format!(
            "{name}: a new crate needs its line in xtask/src/tidy/crates.rs and in docs/ARCHITECTURE.md"
        )];
    };
    let known = |other: &str| EDGES.iter().any(|(from, _)| *from == other);
    let mut found = Vec::new();
    for (other, only_tests) in dependencies(package) {
        if known(other) && other != name && !allowed.contains(&other) {
            found.push(format!(
                "{name} must not depend on {other}: see the crate graph in docs/ARCHITECTURE.md"
            ));
        }
        if name == "hoist-core" && !only_tests && !BELOW_CORE.contains(&other) {
            found.push(format!(
                "hoist-core must not depend on {other}: it decides, and does nothing else"
            ));
        }
    }
    found
}

fn ban(name: &str) -> Option<String> {
    let (_, reason) = BANS.iter().find(|(banned, _)| *banned == name)?;
    Some(format!(
        "{name} must not be linked: {reason} (`cargo tree -i {name}` says who brings it)"
    ))
}

fn licence(name: &str, licence: Option<&str>) -> Option<String> {
    match licence {
        Some(expression) if allowed(expression) => None,
        Some(expression) => Some(format!(
            "{name} is under `{expression}`, which is not in the list of licences"
        )),
        None => Some(format!("{name} names no licence")),
    }
}

/// Evaluates an SPDX expression: any of an `OR`, all of an `AND`, `AND` binding closer. A slash is an old `OR`.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut good = all_of(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        good |= all_of(words);
    }
    good
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut good = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        good &= one(words);
    }
    good
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let good = any_of(words);
            if let [")", rest @ ..] = *words {
                *words = rest;
                return good;
            }
            false
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, rest @ ..] => {
            *words = rest;
            LICENCES.contains(name)
        }
        [] => false,
    }
}

/// Dependencies that have no line with a reason.
fn unexplained(direct: &BTreeSet<String>, reasons: &str) -> Vec<String> {
    direct
        .iter()
        .filter(|name| !EDGES.iter().any(|(ours, _)| ours == name))
        .filter(|name| !reasons.contains(&format!("`{name}`")))
        .map(|name| {
            format!(
                "{name} has no reason in {REASONS}: say why it and not our own code, or another"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_of_licences_are_evaluated() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR ISC) AND GPL-2.0",
            "",
            "(MIT",
            "MIT MIT",
            "MPL-2.0",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn an_edge_that_the_table_lacks_is_told() {
        let package = |name: &str, other: &str| json!({"name": name, "dependencies": [{"name": other, "kind": null}]});
        assert!(edges(&package("hoist-engine", "hoist-core")).is_empty());
        assert_eq!(edges(&package("hoist-engine", "hoist-api")).len(), 1);
        assert_eq!(edges(&package("hoist-core", "tokio")).len(), 1);
        assert_eq!(edges(&package("hoist-new", "hoist-core")).len(), 1);
        let tests_only =
            json!({"name": "hoist-core", "dependencies": [{"name": "proptest", "kind": "dev"}]});
        assert!(edges(&tests_only).is_empty());
    }

    #[test]
    fn a_banned_crate_and_one_without_a_reason_are_told() {
        assert!(ban("openssl-sys").is_some() && ban("rustls").is_none());
        let direct = BTreeSet::from([
            "tokio".to_owned(),
            "mystery".to_owned(),
            "hoist-core".to_owned(),
        ]);
        assert_eq!(unexplained(&direct, "- `tokio`: runtime").len(), 1);
    }
}
