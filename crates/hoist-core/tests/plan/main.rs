//! The planner against a simulated rack: promises over many seeds, planted defects, and stories with their transcripts.
//!
//! `SEEDS=20000 cargo test -p hoist-core --test plan` runs more worlds, from `FIRST_SEED` on; `SEED=4` tells one again in
//! all detail.

#![expect(unreachable_pub, reason = "modules of one test binary")]

mod checks;
mod commands;
mod deploys;
mod engine;
mod faults;
mod golden;
mod planner;
mod promises;
mod random;
mod records;
mod rest;
mod router;
mod scripts;
mod sweeps;
mod users;
mod words;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use faults::Faults;
use planner::{Defect, Planner};
use random::Random;
use world::World;

/// Moments with users and faults, and the most that follow without.
const BUSY_TICKS: u32 = 350;
const CALM_TICKS: u32 = 1_500;

/// One world from its first moment to rest.
struct Told {
    broken: Option<String>,
    history: Vec<String>,
    outcomes: BTreeMap<&'static str, u32>,
}

fn tell(seed: u64, defect: Option<Defect>) -> Told {
    let mut random = Random::new(seed ^ 0xF00D);
    let mut faults = faults::draw(&mut random);
    let mortal = random.permille(500);
    if !mortal {
        faults.process_dies = 0;
    }
    let prompt = random.permille(150);
    if prompt {
        (
            faults.lose,
            faults.delay,
            faults.repeat,
            faults.controller_dies,
        ) = (0, 0, 0, 0);
    }
    let mut world = World::new(seed, faults, Planner::new(defect));
    world.verbose = number("SEED").is_some();
    world.checks.flaky = faults.probe_flakes > 0;
    world.checks.prompt = prompt;
    users::populate(&mut world, mortal);
    for _ in 0..BUSY_TICKS {
        users::act(&mut world);
        let ms = if world.random.permille(50) {
            5_000
        } else {
            world.random.between(50, 1_000)
        };
        world.tick(ms);
        if world.checks.broken.is_some() {
            break;
        }
    }
    world.say("faults stop");
    world.faults = Faults::default();
    world.router.sticky = false;
    let mut restless = Some("never looked".to_owned());
    for _ in 0..CALM_TICKS {
        if restless.is_none() || world.checks.broken.is_some() {
            break;
        }
        world.tick(500);
        restless = world.unsettled();
    }
    if let Some(why) = restless {
        world.checks.fail("P5", why);
    }
    if world.promises.staged > 0 {
        world.checks.count("promoted on what was staged");
    }
    Told {
        broken: world.checks.broken,
        history: world.history,
        outcomes: world.checks.outcomes,
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds on all cores until one breaks the promise that is sought (all begin with nothing). Returns it, and what
/// happened in all.
fn run(
    seeds: std::ops::Range<u64>,
    defect: Option<Defect>,
    sought: &str,
) -> (Option<(u64, Told)>, BTreeMap<&'static str, u32>) {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((None::<(u64, Told)>, BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let told = tell(seed, defect);
            let mut found = found.lock().expect("no thread panics with it");
            for (what, count) in &told.outcomes {
                *found.1.entry(*what).or_default() += count;
            }
            if told
                .broken
                .as_ref()
                .is_some_and(|what| what.starts_with(sought))
            {
                next.store(seeds.end, Ordering::Relaxed);
                if found.0.as_ref().is_none_or(|(first, _)| seed < *first) {
                    found.0 = Some((seed, told));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no thread panics with it")
}

#[test]
fn promises_hold_under_faults() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("FIRST_SEED").unwrap_or(0);
            first..first + number("SEEDS").unwrap_or(1_000)
        }
    };
    let many = seeds.end - seeds.start >= 1_000;
    let (broken, outcomes) = run(seeds, None, "");
    if let Some((seed, told)) = broken {
        panic!(
            "SEED={seed}\n{}\n{}",
            told.history.join("\n"),
            told.broken.unwrap_or_default()
        );
    }
    println!("{outcomes:?}");
    let kinds = [
        "succeeded",
        "rolled-back",
        "failed",
        "superseded",
        "cancelled",
        "resized",
        "resize failed",
    ];
    let of_releases = [
        "promoted on what was staged",
        "passed over",
        "chosen base",
        "composed",
        "rollback succeeded",
        "rollback failed",
        "collected",
    ];
    for kind in kinds
        .into_iter()
        .chain(of_releases)
        .chain(["stopped", "deleted", "replacing", "router changed"])
        .chain([
            "renewed",
            "renewal failed",
            "revived",
            "restarted with limits",
        ])
        .chain([
            "postdeploy done",
            "postdeploy failed",
            "postdeploy forgotten",
        ])
    {
        assert!(
            !many || outcomes.contains_key(kind),
            "no world had one: {kind}"
        );
    }
}

/// Runs seeds until the checker of a promise finds the defect planted against it.
fn caught(defect: Defect, promise: &str) {
    let (broken, _) = run(0..400, Some(defect), promise);
    assert!(
        broken.is_some(),
        "no checker of {promise} found the planted defect"
    );
}

#[test]
fn p1_a_route_to_what_was_is_caught() {
    caught(Defect::RoutesToOldLook, "P1");
}

#[test]
fn p2_a_removal_that_does_not_wait_for_the_router_is_caught() {
    caught(Defect::RemovesUnacknowledged, "P2");
}

#[test]
fn p3_a_failure_that_goes_live_is_caught() {
    caught(Defect::FailureGoesLive, "P3");
}

#[test]
fn p4_a_generation_that_stands_is_caught() {
    caught(Defect::GenerationStands, "P4");
}

#[test]
fn p5_a_wait_without_limit_is_caught() {
    caught(Defect::ClockStands, "P5");
}

#[test]
fn p6_one_seed_is_one_history() {
    for seed in 0..25 {
        let (once, again) = (tell(seed, None), tell(seed, None));
        assert_eq!(
            once.history, again.history,
            "seed {seed} told two histories"
        );
        assert!(once.history.len() > 20, "seed {seed} tells nothing");
    }
}

#[test]
fn p6_a_hidden_state_is_caught() {
    let differs = |seed| {
        let told = |seed| tell(seed, Some(Defect::HiddenState)).history;
        told(seed) != told(seed)
    };
    assert!(
        (0..25).any(differs),
        "a planner with a hidden state told the same histories"
    );
}

#[test]
fn p7_a_forgotten_release_command_is_caught() {
    caught(Defect::ForgetsCommands, "P7");
}

#[test]
fn p11_a_forgotten_postdeploy_script_is_caught() {
    caught(Defect::ForgetsScripts, "P11");
}

#[test]
fn p11_a_lost_postdeploy_script_is_caught() {
    caught(Defect::LosesScripts, "P11");
}

#[test]
fn p11_a_postdeploy_script_of_a_failure_is_caught() {
    caught(Defect::RunsScriptsOfFailures, "P11");
}

#[test]
fn p8_traffic_that_moves_before_the_gate_is_caught() {
    caught(Defect::ShiftsEarly, "P8");
}

#[test]
fn p2_a_restart_that_does_not_wait_for_the_router_is_caught() {
    caught(Defect::RestartsAtOnce, "P2");
}

#[test]
fn p8_a_restart_that_skips_the_gate_is_caught() {
    caught(Defect::RenewsWithoutGate, "P8");
}

#[test]
fn p10_a_flake_that_counts_as_deafness_is_caught() {
    caught(Defect::FlakeIsDeafness, "P10");
}

#[test]
fn p9_a_flake_that_counts_as_a_death_is_caught() {
    caught(Defect::FlakeIsDeath, "P9");
}

#[test]
fn r1_building_on_a_failure_is_caught() {
    caught(Defect::BuildsOnFailures, "R1");
}

#[test]
fn r1_building_above_a_failure_is_caught() {
    caught(Defect::BuildsAboveFailures, "R1");
}

#[test]
fn r2_a_staged_change_that_is_left_behind_is_caught() {
    caught(Defect::LeavesStagedBehind, "R2");
}

#[test]
fn r3_going_to_the_release_before_is_caught() {
    caught(Defect::GoesToTheOneBefore, "R3");
}

#[test]
fn r3_going_to_and_fro_is_caught() {
    caught(Defect::GoesToAndFro, "R3");
}

#[test]
fn r4_a_success_that_was_none_is_caught() {
    caught(Defect::RecordsSuccess, "R4");
}

#[test]
fn r5_a_parent_that_was_not_there_is_caught() {
    caught(Defect::NamesItsOwnParent, "R5");
}

#[test]
fn r6_a_rollback_that_keeps_what_runs_is_caught() {
    caught(Defect::KeepsWhatDiffers, "R6");
}

#[test]
fn r7_collecting_what_one_could_go_back_to_is_caught() {
    caught(Defect::CollectsWaysBack, "R7");
}

#[test]
fn r7_collecting_what_runs_is_caught() {
    caught(Defect::CollectsWhatRuns, "R7");
}

#[test]
fn r7_collecting_what_is_staged_is_caught() {
    caught(Defect::CollectsStaged, "R7");
}
