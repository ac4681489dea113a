//! What one uses every day around deploys: completions in a real shell, manifests that are checked, addresses, manuals.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::harness::{Rack, Source};
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    (
        "bash_completes_with_names_of_the_rack",
        bash_completes_with_names_of_the_rack,
    ),
    (
        "completions_without_a_rack_are_silent",
        completions_without_a_rack_are_silent,
    ),
    (
        "a_manifest_is_checked_without_a_rack",
        a_manifest_is_checked_without_a_rack,
    ),
    (
        "the_manifest_of_a_release_is_shown",
        the_manifest_of_a_release_is_shown,
    ),
    ("open_prints_where_an_app_is", open_prints_where_an_app_is),
];

/// What bash completes a line to, by the script and the program as a user has them.
fn completed(rack: &Rack, words: &[&str]) -> Result<Vec<String>> {
    let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(\"$0\" completions bash)\nCOMP_WORDS=(\"$0\" {}); COMP_CWORD={}\n_hoist\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        line.join(" "),
        words.len()
    );
    // The rack's variables and directory, with bash for the program.
    let own = rack.command(&[]);
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script])
        .arg(program())
        .env_clear();
    bash.envs(
        own.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = bash.current_dir(rack.home()).output()?;
    let (text, said) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(
        output.status.success() && said.is_empty(),
        "{words:?}: {text}{said}"
    );
    Ok(text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

fn bash_completes_with_names_of_the_rack() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    let release = rack.deployed(&source.dir())?;
    let of = |words: &[&str]| completed(&rack, words);
    ensure!(of(&["roll"])? == ["rollback"]);
    ensure!(of(&["ps", "-a", "s"])? == ["shop"]);
    ensure!(of(&["ps", "--app", "=", ""])? == ["shop"]);
    ensure!(of(&["scale", "-a", "shop", "w"])? == ["web="]);
    ensure!(of(&["promote", "-a", "shop", "R"])? == [release]);
    let id = rack.processes("shop")?[0].0.clone();
    ensure!(of(&["exec", "-a", "shop", &id[..3]])? == [id]);
    Ok(())
}

fn completions_without_a_rack_are_silent() -> Result<()> {
    let rack = Rack::idle(program())?;
    let since = Instant::now();
    ensure!(completed(&rack, &["ps", "-a", ""])?.is_empty());
    ensure!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    Ok(())
}

fn a_manifest_is_checked_without_a_rack() -> Result<()> {
    let rack = Rack::idle(program())?;
    let root = env!("CARGO_MANIFEST_DIR");
    let reference = format!("{root}/docs/guide/hoist.reference.yml");
    rack.hoist(&["manifest", "validate", &reference])?
        .expect(0, &["is valid: web, worker"])?;
    for example in std::fs::read_dir(format!("{root}/examples"))? {
        let path = example?.path();
        if path.is_dir() {
            let path = path.to_string_lossy().into_owned();
            rack.hoist(&["manifest", "validate", &path])?
                .expect(0, &["is valid"])?;
        }
    }
    let bad = rack.home().join("bad.yml");
    std::fs::write(
        &bad,
        "services:\n  web:\n    command: ./serve\n    port: many\n",
    )?;
    rack.hoist(&["manifest", "validate", "bad.yml"])?
        .expect(1, &["ERROR: bad.yml:4:", "hint: "])?;
    Ok(())
}

fn the_manifest_of_a_release_is_shown() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    let release = rack.deployed(&source.dir())?;
    let shown = rack.ok(&["manifest", "show", "--release", &release, "-a", "shop"])?;
    std::fs::write(rack.home().join("hoist.yml"), &shown.stdout)?;
    let again = rack.ok(&["manifest", "show"])?;
    ensure!(
        again.stdout == shown.stdout,
        "{}\n{}",
        shown.stdout,
        again.stdout
    );
    Ok(())
}

fn open_prints_where_an_app_is() -> Result<()> {
    let rack = rack()?;
    let source = Source::web("shop", "hello")?;
    rack.deployed(&source.dir())?;
    let opened = rack.ok(&["open", "-a", "shop"])?;
    ensure!(
        opened.stdout.starts_with("http://shop.localhost:"),
        "{opened}"
    );
    ensure!(
        opened.stderr.contains("open the address yourself"),
        "{opened}"
    );
    Ok(())
}
