//! The long runs: hundreds of changes, and rack after rack killed, under constant load.

use std::path::Path;

use anyhow::Result;

use super::Row;
use crate::harness::random::Random;
use crate::harness::soak::{self, Soaked};

/// Deploys, promotes, rollbacks and env promotes.
const CHANGES: usize = 200;
/// Scalings, restarts and single processes that are stopped.
const STANDING: usize = 200;
/// Deaths of the rack.
const KILLS: usize = 100;

/// Change after change.
pub(super) fn changes(binary: &Path) -> Result<Vec<Row>> {
    let soaked = soak::changes(binary, CHANGES, Random::seed())?;
    Ok(vec![row(
        &format!("{CHANGES} deploys, promotes, rollbacks and env promotes under load"),
        &soaked,
        "",
    )])
}

/// Changes without a release.
pub(super) fn standing(binary: &Path) -> Result<Vec<Row>> {
    let soaked = soak::standing(binary, STANDING, Random::seed())?;
    Ok(vec![row(
        &format!("{STANDING} times scale, restart and ps stop under load"),
        &soaked,
        "",
    )])
}

/// Death after death.
pub(super) fn kills(binary: &Path) -> Result<Vec<Row>> {
    let soaked = soak::kills(binary, KILLS, Random::seed())?;
    let more = format!(
        "; {} died in a promotion, {} ended with what was asked for; nothing stuck, orphaned or left over",
        soaked.interrupted, soaked.new_won
    );
    Ok(vec![row(
        &format!("{KILLS} times SIGKILL of the rack at random moments of changes under load"),
        &soaked,
        &more,
    )])
}

fn row(what: &str, soaked: &Soaked, more: &str) -> Row {
    let outcome = &soaked.outcome;
    let first = outcome
        .lost
        .first()
        .map(|loss| format!(" (first: {loss})"))
        .unwrap_or_default();
    Row {
        what: what.to_owned(),
        bar: "0 requests lost".to_owned(),
        measured: format!(
            "{} lost{first} of {} requests and {} WebSocket messages; {} WebSockets closed in words; slowest answer {} ms; {:.0} s{more}",
            outcome.lost.len(),
            outcome.answered,
            outcome.echoed,
            outcome.closed,
            outcome.slowest.as_millis(),
            soaked.took.as_secs_f64(),
        ),
        reached: outcome.lost.is_empty() && outcome.closed > 0,
    }
}
