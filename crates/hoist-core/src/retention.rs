//! What of an app's history stays and what goes: releases, builds, and with builds their slugs and logs.
//!
//! Kept is whatever anything stands on; of the rest, the newest. Volumes are no history and are not known here.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Served;
use crate::id::{BuildId, ReleaseId};
use crate::lineage::{self, Kin};
use crate::model::App;

/// Newest releases kept of an app, unless it says otherwise.
pub const RELEASES_KEPT: u32 = 50;
/// Good releases before the active one that are kept, however old: so often can one go back.
pub const WAYS_BACK_KEPT: usize = 3;
/// Newest promotions kept of an app that succeeded, and as many that did not; older ones only as far as they say how a
/// kept release stands. As many are looked through for a release to go back to.
pub const PROMOTIONS_KEPT: u32 = 1_000;
/// Newest events kept of an app.
pub const EVENTS_KEPT: u32 = 5_000;
/// Newest one-offs kept of an app, beside those that run.
pub const ONE_OFFS_KEPT: u32 = 1_000;

/// How many of the newest releases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many, at least one.
    Newest(u32),
    /// Every one: nothing goes.
    All,
}

impl Keep {
    /// What an app's setting means: [`RELEASES_KEPT`] when it says nothing, and 0 is all.
    pub fn of(setting: Option<u32>) -> Self {
        match setting {
            None => Self::Newest(RELEASES_KEPT),
            Some(0) => Self::All,
            Some(count) => Self::Newest(count),
        }
    }
}

/// A release as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its place among the others.
    pub kin: Kin,
    /// Its build; none while only variables were set.
    pub build: Option<BuildId>,
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// It runs.
    Running,
    /// It made a slug.
    Complete,
    /// It did not.
    Failed,
}

/// All that the decision reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The app's releases, newest first.
    pub releases: Vec<Made>,
    /// Its builds, newest first.
    pub builds: Vec<(BuildId, BuildState)>,
    /// The release that serves.
    pub active: Option<ReleaseId>,
    /// What the app's state names ([`named`]) and what its one-offs run.
    pub needed: BTreeSet<ReleaseId>,
    /// What served so far.
    pub served: Served,
    /// How many are kept beside.
    pub keep: Keep,
}

/// Why a build goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unneeded {
    /// No release that is kept has it.
    Unnamed,
    /// It failed, and is not among the newest.
    Failed,
}

/// What goes, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    /// Releases. What was made from one of them keeps its name as parent.
    pub releases: Vec<ReleaseId>,
    /// Builds, once these releases are gone.
    pub builds: Vec<(BuildId, Unneeded)>,
}

/// Releases that an app's state names: the active one, those of workloads that serve, are warm or on their way out, the
/// target of a promotion in flight, and those of scripts that are due.
pub fn named(app: &App) -> BTreeSet<ReleaseId> {
    app.releases.keys().cloned().collect()
}

/// Decides what goes. Idempotent: of what is left nothing more goes.
///
/// Stays: what is needed; the newest; where rollbacks without a name would go; what is staged, down to the active
/// release, so that the next release is made from the same base as before; and the builds of all these. Builds that run
/// stay, and the newest complete one, which `deploy` compares an unchanged source with.
pub fn gone(facts: &Facts) -> Gone {
    let Keep::Newest(keep) = facts.keep else {
        return Gone::default();
    };
    let keep = keep.max(1) as usize;
    let kept = kept(facts, keep);
    let mut needed: BTreeSet<&BuildId> = BTreeSet::new();
    let mut releases = Vec::new();
    for made in &facts.releases {
        match kept.contains(&made.kin.id) {
            true => needed.extend(&made.build),
            false => releases.push(made.kin.id.clone()),
        }
    }
    let complete = |(_, state): &&(BuildId, BuildState)| *state == BuildState::Complete;
    let newest = facts.builds.iter().find(complete);
    needed.extend(newest.map(|(id, _)| id));
    let mut builds = Vec::new();
    for (place, (id, state)) in facts.builds.iter().enumerate() {
        let why = match state {
            BuildState::Running => continue,
            BuildState::Failed if place < keep => continue,
            BuildState::Failed => Unneeded::Failed,
            BuildState::Complete => Unneeded::Unnamed,
        };
        if !needed.contains(id) {
            builds.push((id.clone(), why));
        }
    }
    releases.reverse();
    builds.reverse();
    Gone { releases, builds }
}

fn kept(facts: &Facts, keep: usize) -> BTreeSet<ReleaseId> {
    let mut kept = facts.needed.clone();
    kept.extend(facts.active.clone());
    let newest = facts.releases.iter().take(keep);
    kept.extend(newest.map(|made| made.kin.id.clone()));
    let there: BTreeMap<&ReleaseId, &Made> = facts
        .releases
        .iter()
        .map(|made| (&made.kin.id, made))
        .collect();
    // The last one too: when the active release is a copy of it, it is the way back of the next.
    let ways = facts.served.ways_back();
    let ways = ways.filter(|id| there.contains_key(id));
    kept.extend(ways.take(WAYS_BACK_KEPT).cloned());
    kept.extend(facts.served.last().cloned());
    kept.extend(staged(facts));
    kept
}

/// Releases from the next one's base down to the active one. While nothing is active, down to what is needed: the target of
/// a promotion in flight may be active next, and what was staged on it meanwhile goes out after it.
fn staged(facts: &Facts) -> Vec<ReleaseId> {
    let below: Vec<&ReleaseId> = match &facts.active {
        Some(active) => vec![active],
        None => facts.needed.iter().collect(),
    };
    let on = |below: &ReleaseId| {
        let newer = facts.releases.iter().map(|made| &made.kin);
        let newer = newer.take_while(|kin| kin.id != *below);
        let newer: Vec<Kin> = newer.cloned().collect();
        lineage::base(&newer, Some(below)).staged
    };
    below.into_iter().flat_map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str) -> ReleaseId {
        format!("R{name:A>10}").parse().expect("an id")
    }

    fn build(name: &str) -> BuildId {
        format!("B{name:A>10}").parse().expect("an id")
    }

    /// Releases newest first as `B<A=X`: B made from A with build X, with `!` when its promotion went wrong.
    fn facts(keep: u32, active: &str, releases: &str, builds: &str) -> Facts {
        let made = |word: &str| {
            let flawed = word.ends_with('!');
            let (line, built) = word.trim_end_matches('!').split_once('=').expect("a build");
            let (name, parent) = line.split_once('<').expect("a parent");
            Made {
                kin: Kin {
                    id: release(name),
                    parent: (!parent.is_empty()).then(|| release(parent)),
                    flawed,
                },
                build: (!built.is_empty()).then(|| build(built)),
            }
        };
        let built = |word: &str| {
            let state = match word.chars().last() {
                Some('!') => BuildState::Failed,
                Some('?') => BuildState::Running,
                _ => BuildState::Complete,
            };
            (build(word.trim_end_matches(['!', '?'])), state)
        };
        Facts {
            releases: releases.split_whitespace().map(made).collect(),
            builds: builds.split_whitespace().map(built).collect(),
            active: (!active.is_empty()).then(|| release(active)),
            needed: BTreeSet::new(),
            served: Served::default(),
            keep: Keep::of(Some(keep)),
        }
    }

    /// What goes: releases, then builds.
    fn told(facts: &Facts) -> String {
        let gone = gone(facts);
        let short = |id: &str| id[1..].trim_start_matches('A').to_owned();
        let releases = gone.releases.iter().map(|id| short(id.as_str()));
        let builds = gone.builds.iter().map(|(id, why)| match why {
            Unneeded::Unnamed => short(id.as_str()),
            Unneeded::Failed => format!("{}!", short(id.as_str())),
        });
        format!(
            "{}; {}",
            releases.collect::<Vec<_>>().join(","),
            builds.collect::<Vec<_>>().join(",")
        )
    }

    const FIVE: &str = "F<E=V E<D=Y D<C=Y C<B=X B<=X";

    #[test]
    fn the_newest_stay_with_their_builds() {
        assert_eq!(told(&facts(2, "F", FIVE, "V Y X")), "B,C,D; X");
        assert_eq!(told(&facts(3, "F", FIVE, "V Y X")), "B,C; X");
        assert_eq!(told(&facts(4, "F", FIVE, "V Y X")), "B; ");
        assert_eq!(told(&facts(50, "F", FIVE, "V Y X")), "; ");
        assert_eq!(told(&facts(0, "F", FIVE, "V Y X")), "; ");
        assert_eq!(Keep::of(None), Keep::Newest(RELEASES_KEPT));
    }

    #[test]
    fn what_is_needed_stays_however_old() {
        let mut old = facts(1, "F", FIVE, "V Y X");
        old.needed.insert(release("C"));
        assert_eq!(told(&old), "B,D,E; Y");
    }

    #[test]
    fn what_is_staged_on_a_first_promotion_in_flight_stays() {
        let mut first = facts(1, "", FIVE, "V Y X");
        first.needed.insert(release("D"));
        assert_eq!(told(&first), "B,C; X");
    }

    #[test]
    fn the_ways_back_stay() {
        let mut old = facts(1, "F", FIVE, "V Y X");
        for name in ["B", "C", "D", "E", "F"] {
            old.served.add(release(name), false);
        }
        assert_eq!(told(&old), "B; ");
        old.releases.remove(1);
        assert_eq!(told(&old), "; ", "one that is gone is no way back");
    }

    #[test]
    fn of_a_copy_that_serves_the_original_stays() {
        let mut back = facts(1, "F", "F<B=X E<D=Y D<B=Y B<=X", "Y X");
        back.served.add(release("B"), false);
        back.served.add(release("E"), false);
        back.served.add(release("B"), true);
        assert_eq!(told(&back), "D,E; ");
    }

    #[test]
    fn what_is_staged_stays_down_to_the_active_release() {
        let staged = "F<E=X E<D=X D<C=X C<B=X B<=X";
        assert_eq!(told(&facts(1, "B", staged, "X")), "; ");
        let failed = "F<E=X E<D=X! D<C=X C<B=X B<=X";
        assert_eq!(told(&facts(1, "B", failed, "X")), "E; ");
    }

    #[test]
    fn builds_that_run_or_are_compared_with_stay_and_failed_ones_age() {
        let one = "B<=X";
        assert_eq!(told(&facts(2, "B", one, "Z? Y X")), "; ");
        assert_eq!(told(&facts(2, "B", one, "Z Y X")), "; Y");
        assert_eq!(told(&facts(2, "B", one, "Z! Y! W! X V!")), "; V!,W!");
        assert_eq!(told(&facts(2, "", "", "Z! Y! W!")), "; W!");
    }
}
