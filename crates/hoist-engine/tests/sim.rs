//! The conformance suite on the sim engine: every case that needs no real process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod conformance;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::Bench;
use hoist_core::id::SlotId;
use hoist_engine::Engine;
use hoist_engine::sim::SimEngine;
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    conformance::expect_engine("sim");
    let trials = conformance::all()
        .into_iter()
        .map(|case| conformance::trial("sim", case, SimBench::boxed));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

struct SimBench {
    dir: tempfile::TempDir,
    engine: Arc<SimEngine>,
}

impl SimBench {
    fn boxed() -> Box<dyn Bench> {
        Box::new(Self {
            dir: tempfile::tempdir().unwrap(),
            engine: Arc::new(SimEngine::new()),
        })
    }
}

impl Bench for SimBench {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine) as Arc<dyn Engine>
    }

    fn reopen(&mut self) {
        self.engine = Arc::new(self.engine.reopen());
    }

    fn command(&self, token: &str, script: &str) -> Vec<String> {
        vec![token.to_owned(), script.to_owned()]
    }

    fn kill_supervisor(&self, slot: &SlotId) {
        self.engine.lose(slot);
    }

    fn freeze_supervisor(&self, _slot: &SlotId) {
        unreachable!("only real supervisors are frozen");
    }

    fn alive(&self, token: &str) -> bool {
        self.engine.acts(token)
    }

    fn real(&self) -> bool {
        false
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}
