//! Many changes under constant load, some with a rack that dies in the middle: no request is lost, nothing is left over.
//! `cargo xtask bench soak kill` runs more rounds.

use anyhow::{Result, ensure};

use crate::harness::Source;
use crate::harness::load::{Clients, Load};
use crate::harness::random::Random;
use crate::harness::soak;
use crate::harness::source::web;
use crate::{Story, program, rack};

pub(crate) const STORIES: &[Story] = &[
    ("changes_lose_nothing", changes_lose_nothing),
    (
        "a_rack_that_is_killed_loses_nothing",
        a_rack_that_is_killed_loses_nothing,
    ),
    (
        "a_singleton_is_replaced_while_requests_wait",
        a_singleton_is_replaced_while_requests_wait,
    ),
    ("a_planted_loss_is_counted", a_planted_loss_is_counted),
];

const ROUNDS: usize = 20;

fn changes_lose_nothing() -> Result<()> {
    let soaked = soak::changes(program(), ROUNDS, Random::seed())?;
    ensure!(soaked.outcome.lost.is_empty(), "{:#?}", soaked.outcome.lost);
    ensure!(
        soaked.outcome.answered > 200 && soaked.outcome.echoed > 20,
        "{soaked:?}"
    );
    ensure!(
        soaked.outcome.closed > 0,
        "no WebSocket was closed: {soaked:?}"
    );
    Ok(())
}

fn a_rack_that_is_killed_loses_nothing() -> Result<()> {
    let soaked = soak::kills(program(), ROUNDS, Random::seed())?;
    ensure!(soaked.outcome.lost.is_empty(), "{:#?}", soaked.outcome.lost);
    ensure!(
        soaked.outcome.answered > 200 && soaked.outcome.echoed > 20,
        "{soaked:?}"
    );
    ensure!(soaked.new_won > 0, "every change was lost: {soaked:?}");
    ensure!(
        soaked.interrupted > 0,
        "no promotion was interrupted: {soaked:?}"
    );
    Ok(())
}

/// The old process ends before the new one starts; the router holds what comes meanwhile.
fn a_singleton_is_replaced_while_requests_wait() -> Result<()> {
    let rack = rack()?;
    let manifest = |text: &str| web(&format!("{text} --start-ms 300"), "singleton: true");
    let source = Source::app("shop", &manifest("v0"))?;
    rack.deployed(&source.dir())?;
    let load = Load::start(&Clients::mixed(rack.router, "shop.localhost"));
    for round in 1..4 {
        source.manifest(&manifest(&format!("v{round}")))?;
        rack.deployed(&source.dir())?;
        ensure!(
            rack.get("shop.localhost", "/")?
                .text()
                .starts_with(&format!("v{round}"))
        );
    }
    let outcome = load.end();
    ensure!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
    ensure!(
        outcome.closed >= 3,
        "each replacement closes the WebSocket in words: {outcome:?}"
    );
    ensure!(
        outcome.slowest.as_millis() >= 300,
        "nothing ever waited: {outcome:?}"
    );
    Ok(())
}

fn a_planted_loss_is_counted() -> Result<()> {
    let outcome = soak::planted_loss(program())?;
    ensure!(
        !outcome.lost.is_empty(),
        "a process was killed under load and nothing was counted: {outcome:?}"
    );
    Ok(())
}
