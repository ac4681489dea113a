//! End-to-end tests: the binary as a user runs it, on real processes and real HTTP. Each test is a story with a rack of its
//! own; what a user reads is part of it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backup;
mod bad_input;
mod building;
mod deploying;
mod ending;
mod environment;
mod everyday;
mod examples;
mod going_back;
#[path = "../harness/mod.rs"]
mod harness;
mod isolation;
mod keeping;
mod looking;
mod moving;
mod parting;
mod promoting;
mod releases;
mod running;
mod soaks;
mod standing;
mod unchanged;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Result;
use harness::Rack;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A story: its name and how it goes.
type Story = (&'static str, fn() -> Result<()>);

/// What a story needs and this machine does not give: the report says so.
#[derive(Debug)]
struct Lacking(&'static str);

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Lacking {}

fn main() -> ExitCode {
    let stories = [
        ("building", building::STORIES),
        ("backup", backup::STORIES),
        ("deploying", deploying::STORIES),
        ("ending", ending::STORIES),
        ("environment", environment::STORIES),
        ("everyday", everyday::STORIES),
        ("examples", examples::STORIES),
        ("going_back", going_back::STORIES),
        ("isolation", isolation::STORIES),
        ("keeping", keeping::STORIES),
        ("looking", looking::STORIES),
        ("moving", moving::STORIES),
        ("releases", releases::STORIES),
        ("running", running::STORIES),
        ("parting", parting::STORIES),
        ("promoting", promoting::STORIES),
        ("bad_input", bad_input::STORIES),
        ("soaks", soaks::STORIES),
        ("standing", standing::STORIES),
        ("unchanged", unchanged::STORIES),
    ];
    let mut trials = Vec::new();
    for (part, stories) in stories {
        for (name, story) in stories {
            let run = move || match story() {
                Ok(()) => Ok(Completion::Completed),
                Err(error) if error.is::<Lacking>() => {
                    Ok(Completion::ignored_with(error.to_string()))
                }
                Err(error) => Err(Failed::from(format!("{error:?}"))),
            };
            trials.push(Trial::ignorable_test(format!("{part}::{name}"), run));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The binary under test.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| match stage() {
        Some(stage) => stage.join("hoist"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_hoist")),
    });
    &PROGRAM
}

/// Where an ordinary user finds what is tested: `cargo xtask test-as-user` lays it out, because the checkout may lie in
/// a closed home.
fn stage() -> Option<PathBuf> {
    std::env::var_os("HOIST_TEST_STAGE").map(PathBuf::from)
}

/// A rack that runs.
fn rack() -> Result<Rack> {
    Rack::start(program())
}
