//! Keeps the project's promises mechanically: `cargo xtask check` is the one command that CI runs and a person runs
//! before committing.

mod bench;
mod check;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod openapi;
mod ordinary;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check          format, tidy, generated files and clippy: what must hold before a commit
  tidy           crate graph, licences, bans and rules about files; part of check
  openapi        writes docs/openapi.json from the API's declaration
  test-as-user [WORD]…
                 as root: the local engine's and the end-to-end tests as an ordinary user, who is made for it
  bench [--bin PATH] [NAME]…
                 measures and writes docs/performance.md; `bench --list` says what there is";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["check"] => check::run(),
        ["tidy"] => tidy::run(),
        ["openapi"] => openapi::write(),
        ["test-as-user", words @ ..] => ordinary::run(words),
        ["bench", names @ ..] => bench::run(names),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ERROR: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the checkout.
fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .context("xtask is not in a workspace")
}
