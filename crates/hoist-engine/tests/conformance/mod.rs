//! One suite for all engines: what [`hoist_engine::Engine`] promises, as cases.
//!
//! A bench holds the engine under test and does to it what an engine cannot do to itself: crash the rack, kill a supervisor.

mod cases;
pub(crate) mod looking;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use hoist_core::id::SlotId;
use hoist_engine::Engine;
use libtest_mimic::{Completion, Trial};

pub(crate) use cases::all;

/// An engine under test and what surrounds it.
pub(crate) trait Bench {
    /// The engine, as the rack sees it.
    fn engine(&self) -> Arc<dyn Engine>;
    /// The rack crashes and starts again.
    fn reopen(&mut self);
    /// The command that acts out a script; the token can be looked for.
    fn command(&self, token: &str, script: &str) -> Vec<String>;
    /// Kills what holds a process, as `kill -9` does.
    fn kill_supervisor(&self, slot: &SlotId);
    /// Makes what holds a process deaf, as `kill -STOP` does.
    fn freeze_supervisor(&self, slot: &SlotId);
    /// Whether any process with this token still runs.
    fn alive(&self, token: &str) -> bool;
    /// Whether processes are processes of this machine.
    fn real(&self) -> bool;
    /// A directory for trees, volumes and logs.
    fn dir(&self) -> &Path;
}

/// A case of the suite.
pub(crate) struct Case {
    /// What it shows.
    pub(crate) name: &'static str,
    /// What it needs: `real`, or kinds of isolation.
    pub(crate) needs: &'static [&'static str],
    /// The case itself.
    pub(crate) run: for<'a> fn(&'a mut dyn Bench) -> Running<'a>,
}

/// Which kinds of isolation this machine must give.
pub(crate) const EXPECT: &str = "HOIST_EXPECT";

/// A case under way.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Makes a test of a case. What the engine says it lacks is not asked of it, and the report says so.
pub(crate) fn trial(
    engine: &'static str,
    case: Case,
    bench: impl FnOnce() -> Box<dyn Bench> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(format!("{engine}::{}", case.name), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let outcome = runtime.block_on(async move {
            let mut bench = bench();
            for need in case.needs {
                if *need == "real" && !bench.real() {
                    return Ok(Completion::ignored_with("needs real processes"));
                }
                let engine = bench.engine();
                let isolation = engine
                    .capabilities()
                    .isolation
                    .iter()
                    .find(|i| i.kind == *need);
                if let Some(lack) = isolation.filter(|isolation| !isolation.present) {
                    return Ok(Completion::ignored_with(format!(
                        "needs {need}: {}",
                        lack.by
                    )));
                }
                assert!(
                    *need == "real" || isolation.is_some() || !bench.real(),
                    "{need} is not reported at all"
                );
                if *need != "real" && isolation.is_none() {
                    return Ok(Completion::ignored_with(format!("needs {need}")));
                }
            }
            (case.run)(&mut *bench).await;
            Ok(Completion::Completed)
        });
        runtime.shutdown_background();
        outcome
    })
}

/// Ends here when this engine is not expected on this machine, and fails when one is that nothing tests.
///
/// `HOIST_ENGINES` lists what must be there, `sim,local` unless told otherwise; what is not listed is not run.
pub(crate) fn expect_engine(engine: &str) {
    const TESTED: [&str; 2] = ["sim", "local"];
    let listed = std::env::var("HOIST_ENGINES").unwrap_or_else(|_| "sim,local".to_owned());
    for name in listed.split(',').map(str::trim) {
        assert!(
            TESTED.contains(&name),
            "HOIST_ENGINES lists {name}, and nothing tests it"
        );
    }
    if !listed.split(',').any(|name| name.trim() == engine) {
        println!("{engine} is not in HOIST_ENGINES ({listed}): not run");
        std::process::exit(0);
    }
}

/// Fails when this machine does not give what is expected of it: `HOIST_EXPECT` lists kinds of isolation.
///
/// Without it nothing is expected, and a case that needs what is missing is not run and says so.
#[allow(dead_code, reason = "processes of the sim are not isolated")]
pub(crate) fn expect_isolation(engine: &dyn Engine) {
    let listed = std::env::var(EXPECT).unwrap_or_default();
    let isolation = &engine.capabilities().isolation;
    for kind in listed
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty())
    {
        let found = isolation.iter().find(|found| found.kind == kind);
        let found =
            found.unwrap_or_else(|| panic!("{EXPECT} lists {kind}, and there is no such kind"));
        assert!(
            found.present,
            "{EXPECT} lists {kind}, and it is missing: {}",
            found.by
        );
    }
}
