//! Whatever history an app has: nothing that is needed ever goes, and what is left is decided on as it was before.

use std::collections::BTreeSet;

use hoist_core::history::Served;
use hoist_core::id::{BuildId, ReleaseId};
use hoist_core::lineage::{self, Kin};
use hoist_core::retention::{self, BuildState, Facts, Gone, Keep, Made, WAYS_BACK_KEPT};
use proptest::prelude::*;

const RELEASES: usize = 24;

fn letters(number: usize) -> String {
    let digit = |power: usize| char::from(b'A' + (number / power % 26) as u8);
    format!("AAAAAAAA{}{}", digit(26), digit(1))
}

fn release(number: usize) -> ReleaseId {
    format!("R{}", letters(number)).parse().expect("an id")
}

fn build(number: usize) -> BuildId {
    format!("B{}", letters(number)).parse().expect("an id")
}

/// A release: how far back its parent is, how many builds there are more at it, and whether a promotion went wrong.
fn made() -> impl Strategy<Value = (usize, usize, bool)> {
    (0..4usize, 0..3usize, prop::bool::weighted(0.2))
}

prop_compose! {
    fn history()(
        made in prop::collection::vec(made(), 0..RELEASES),
        gone in prop::collection::vec(0..RELEASES, 0..4),
        active in prop::option::of(0..RELEASES),
        needed in prop::collection::btree_set(0..RELEASES, 0..3),
        served in prop::collection::vec((0..RELEASES, any::<bool>()), 0..12),
        states in prop::collection::vec(0..8u8, 2 * RELEASES),
        keep in 0..12u32,
    ) -> Facts {
        let mut releases = Vec::new();
        let mut builds = 0;
        for (number, (back, more, flawed)) in made.iter().enumerate() {
            builds += more;
            let parent = number.checked_sub(back + 1).map(release);
            let kin = Kin { id: release(number), parent, flawed: *flawed };
            let build = builds.checked_sub(1).map(build);
            releases.push(Made { kin, build });
        }
        // Some were collected before.
        releases.retain(|made| !gone.iter().any(|number| release(*number) == made.kin.id));
        releases.reverse();
        let there = |id: &ReleaseId| releases.iter().any(|made| made.kin.id == *id);
        let named: BTreeSet<_> = releases.iter().filter_map(|made| made.build.clone()).collect();
        let builds = (0..builds + 2).rev().map(|number| {
            let id = build(number);
            let state = match states[number.min(states.len() - 1)] {
                _ if named.contains(&id) => BuildState::Complete,
                0 => BuildState::Running,
                1..4 => BuildState::Failed,
                _ => BuildState::Complete,
            };
            (id, state)
        });
        let mut history = Served::default();
        for (number, back) in served {
            history.add(release(number), back);
        }
        Facts {
            builds: builds.collect(),
            active: active.map(release).filter(there),
            needed: needed.into_iter().map(release).filter(there).collect(),
            served: history,
            keep: Keep::of(Some(keep)),
            releases,
        }
    }
}

fn after(facts: &Facts, gone: &Gone) -> Facts {
    let mut after = facts.clone();
    after
        .releases
        .retain(|made| !gone.releases.contains(&made.kin.id));
    after
        .builds
        .retain(|(id, _)| !gone.builds.iter().any(|(other, _)| other == id));
    after
}

/// The base of the next release, what is staged, and what is passed over.
fn base(facts: &Facts) -> lineage::Base {
    let kin = facts.releases.iter().map(|made| made.kin.clone());
    let newer: Vec<_> = match &facts.active {
        Some(active) => kin.take_while(|kin| kin.id != *active).collect(),
        None => kin.take(1).collect(),
    };
    lineage::base(&newer, facts.active.as_ref())
}

fn staged_on(facts: &Facts, below: &ReleaseId) -> usize {
    let kin = facts.releases.iter().map(|made| made.kin.clone());
    let newer: Vec<_> = kin.take_while(|kin| kin.id != *below).collect();
    lineage::base(&newer, Some(below)).staged.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_that_is_needed_goes(facts in history()) {
        let gone = retention::gone(&facts);
        let left = after(&facts, &gone);
        let there = |id: &ReleaseId| left.releases.iter().any(|made| made.kin.id == *id);
        for id in facts.needed.iter().chain(&facts.active) {
            prop_assert!(there(id), "{id} is needed");
        }
        let Keep::Newest(keep) = facts.keep else {
            prop_assert_eq!(gone, Gone::default());
            return Ok(());
        };
        for made in facts.releases.iter().take(keep as usize) {
            prop_assert!(there(&made.kin.id), "{} is new", made.kin.id);
        }
        let before: Vec<_> = facts.releases.iter().map(|made| &made.kin.id).collect();
        let ways = facts.served.ways_back().filter(|id| before.contains(id));
        for way in ways.take(WAYS_BACK_KEPT) {
            prop_assert!(there(way), "{way} is a way back");
        }
        let built = |id: &BuildId| left.builds.iter().any(|(other, _)| other == id);
        for made in &left.releases {
            prop_assert!(made.build.as_ref().is_none_or(built), "the build of {}", made.kin.id);
        }
        for (id, state) in &facts.builds {
            prop_assert!(*state != BuildState::Running || built(id), "{id} runs");
        }
        let mut complete = facts.builds.iter().filter(|(_, state)| *state == BuildState::Complete);
        prop_assert!(complete.next().is_none_or(|(id, _)| built(id)), "deploy compares with it");
    }

    #[test]
    fn what_is_left_is_decided_on_as_before(facts in history()) {
        let gone = retention::gone(&facts);
        let left = after(&facts, &gone);
        prop_assert_eq!(retention::gone(&left), Gone::default());
        let (before, now) = (base(&facts), base(&left));
        prop_assert_eq!(before.release, now.release);
        prop_assert_eq!(before.staged, now.staged);
        let still = |id: &&ReleaseId| !gone.releases.contains(id);
        let passed: Vec<_> = before.passed_over.iter().filter(still).cloned().collect();
        prop_assert_eq!(passed, now.passed_over);
    }

    #[test]
    fn no_more_is_kept_than_what_somebody_asked_for(facts in history()) {
        let Keep::Newest(keep) = facts.keep else {
            return Ok(());
        };
        let left = after(&facts, &retention::gone(&facts));
        // Of a first promotion in flight nobody knows yet what it will be to the others.
        let staged: usize = match &facts.active {
            Some(active) => staged_on(&facts, active),
            None => facts.needed.iter().map(|id| staged_on(&facts, id)).sum(),
        };
        let most = keep as usize + facts.needed.len() + WAYS_BACK_KEPT + 2 + staged;
        prop_assert!(left.releases.len() <= most, "{} > {most}", left.releases.len());
    }
}
