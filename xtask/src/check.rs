//! Everything that must hold before a commit, cheapest first; all of it runs, so that one round shows all there is.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::{openapi, root, tidy};

/// A named promise and what verifies it.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 4] = [
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("tidy", tidy::run),
    ("generated files", openapi::verify),
    ("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ])
    }),
];

/// Runs all steps.
///
/// # Errors
/// Names the steps that failed; what failed in them was printed.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        let began = Instant::now();
        let outcome = step();
        let word = if outcome.is_ok() { "OK" } else { "FAILED" };
        if let Err(error) = outcome {
            eprintln!("{error:#}");
            failed.push(name);
        }
        eprintln!(
            "Checking {name}... {word} ({:.1} s)",
            began.elapsed().as_secs_f64()
        );
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .args(args)
        .current_dir(root()?)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "`cargo {}` failed", args.join(" "));
    Ok(())
}
