//! Which release the next one is made from: staged changes add up, and nothing is ever built on what failed.
//!
//! The base is the newest release that descends from the active one, with nothing on the way between them of which a
//! promotion went wrong. What was staged between the two goes out with the next promotion, and is told; what is newer and
//! was passed over is told as well.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::id::{InvalidId, ReleaseId};

/// What the next release is asked to be made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// What [`base`] chooses.
    #[default]
    Base,
    /// The active release: what is staged stays behind.
    Active,
    /// The newest release, whatever became of it.
    Newest,
    /// This one.
    Release(ReleaseId),
}

impl FromStr for Start {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "active" => Ok(Self::Active),
            "newest" => Ok(Self::Newest),
            release => release.parse().map(Self::Release),
        }
    }
}

/// What is known of a release's place among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// The release.
    pub id: ReleaseId,
    /// The release it was made from.
    pub parent: Option<ReleaseId>,
    /// A promotion of it failed, was rolled back, superseded or cancelled.
    pub flawed: bool,
}

/// The base of the next release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The release; none before the first.
    pub release: Option<ReleaseId>,
    /// Releases between it and the active one, newest first, the base among them: made and not promoted.
    pub staged: Vec<ReleaseId>,
    /// Releases newer than it that were not chosen, newest first.
    pub passed_over: Vec<ReleaseId>,
}

/// Chooses the base. `newer` are the releases made after the active one, newest first; without an active one all of them.
///
/// While nothing is active there is nothing better to stand on than the newest, whatever became of it: what failed then
/// is mended by the next change of its environment.
pub fn base(newer: &[Kin], active: Option<&ReleaseId>) -> Base {
    let Some(active) = active else {
        return Base {
            release: newer.first().map(|kin| kin.id.clone()),
            staged: Vec::new(),
            passed_over: Vec::new(),
        };
    };
    let ways = Ways::new(newer, active);
    let chosen = (0..newer.len()).find(|index| ways.stands[*index] == Stand::Sound);
    let staged: Vec<_> = chosen.map_or(Vec::new(), |index| ways.down(index));
    Base {
        release: Some(staged.first().unwrap_or(active).clone()),
        staged,
        passed_over: newer[..chosen.unwrap_or(newer.len())]
            .iter()
            .map(|kin| kin.id.clone())
            .collect(),
    }
}

/// How a release stands to the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It descends from it, and nothing on the way, itself among that, went wrong.
    Sound,
    /// It descends from it, and this is the nearest on the way that went wrong.
    On(usize),
    /// It does not descend from it.
    Aside,
}

/// The ways from releases down to the active one, found once for all of them: there may be thousands.
struct Ways<'k> {
    newer: &'k [Kin],
    /// Where each one's parent is; none when that is the active one, or is not there.
    parents: Vec<Option<usize>>,
    stands: Vec<Stand>,
}

impl<'k> Ways<'k> {
    fn new(newer: &'k [Kin], active: &ReleaseId) -> Self {
        let mut ways = Self {
            newer,
            parents: vec![None; newer.len()],
            stands: vec![Stand::Aside; newer.len()],
        };
        let mut older = BTreeMap::new();
        // A parent is older than its child: from the oldest on, each one's parent is known.
        for (index, kin) in newer.iter().enumerate().rev() {
            let parent = kin.parent.as_ref();
            ways.parents[index] = parent.and_then(|parent| older.get(parent).copied());
            let below = match ways.parents[index] {
                _ if parent == Some(active) => Stand::Sound,
                Some(parent) => ways.stands[parent],
                None => Stand::Aside,
            };
            ways.stands[index] = match below {
                Stand::Sound | Stand::On(_) if kin.flawed => Stand::On(index),
                below => below,
            };
            older.insert(&kin.id, index);
        }
        ways
    }

    /// The releases from one down to the active one, which is left out.
    fn down(&self, from: usize) -> Vec<ReleaseId> {
        let way = std::iter::successors(Some(from), |index| self.parents[*index]);
        way.map(|index| self.newer[index].id.clone()).collect()
    }
}

/// What is worth telling of a release beside what it changed itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Releases that were made and not promoted and that it stands on, oldest first.
    pub includes: Vec<ReleaseId>,
    /// Releases between the one it was made from and it that are not in it and could not be, newest first.
    pub passed_over: Vec<(ReleaseId, Flaw)>,
}

/// Why a release is not built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A promotion of it went wrong.
    Own,
    /// It stands on this one, of which a promotion went wrong.
    Under(ReleaseId),
    /// It does not descend from the active release.
    Aside,
}

/// Tells what a release stands on, as things are. `newer` are the releases made after the active one, newest first, itself
/// among them; of one that is not there is nothing to tell.
pub fn told(release: &ReleaseId, newer: &[Kin], active: Option<&ReleaseId>) -> Told {
    let place = newer.iter().position(|kin| kin.id == *release);
    let (Some(place), Some(active)) = (place, active) else {
        return Told::default();
    };
    let Some(parent) = &newer[place].parent else {
        return Told::default();
    };
    let ways = Ways::new(newer, active);
    let at = ways.parents[place];
    let mut includes = match at {
        Some(parent) if ways.stands[parent] != Stand::Aside => ways.down(parent),
        None if parent == active => Vec::new(),
        // It is a copy, or somebody chose what it is made from.
        _ => return Told::default(),
    };
    let between = place + 1..at.unwrap_or(newer.len());
    let passed_over =
        between.filter_map(|index| Some((newer[index].id.clone(), ways.flaw(index)?)));
    let passed_over = passed_over.collect();
    includes.reverse();
    Told {
        includes,
        passed_over,
    }
}

impl Ways<'_> {
    fn flaw(&self, index: usize) -> Option<Flaw> {
        match self.stands[index] {
            _ if self.newer[index].flawed => Some(Flaw::Own),
            Stand::Sound => None,
            Stand::On(under) => Some(Flaw::Under(self.newer[under].id.clone())),
            Stand::Aside => Some(Flaw::Aside),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ReleaseId {
        format!("R{name:A>10}").parse().expect("an id")
    }

    /// `B<A` is a release B made from A, `B<A!` one of which a promotion went wrong.
    fn kin(words: &str) -> Vec<Kin> {
        let one = |word: &str| {
            let (name, parent) = word
                .trim_end_matches('!')
                .split_once('<')
                .expect("a parent");
            Kin {
                id: id(name),
                parent: (!parent.is_empty()).then(|| id(parent)),
                flawed: word.ends_with('!'),
            }
        };
        words.split_whitespace().map(one).collect()
    }

    /// The base, then what is staged, then what was passed over.
    fn told(newer: &str, active: Option<&str>) -> String {
        let active = active.map(id);
        let base = base(&kin(newer), active.as_ref());
        let short = |id: &ReleaseId| id.as_str().trim_start_matches(['R', 'A']).to_owned();
        let list = |ids: &[ReleaseId]| ids.iter().map(short).collect::<Vec<_>>().join(",");
        format!(
            "{} staged:{} passed:{}",
            base.release.as_ref().map(short).unwrap_or_default(),
            list(&base.staged),
            list(&base.passed_over)
        )
    }

    #[test]
    fn staged_changes_add_up() {
        assert_eq!(told("", Some("K")), "K staged: passed:");
        assert_eq!(told("M<L L<K", Some("K")), "M staged:M,L passed:");
    }

    #[test]
    fn what_failed_is_never_a_base_nor_is_what_was_built_on_it() {
        assert_eq!(told("L<K!", Some("K")), "K staged: passed:L");
        assert_eq!(told("M<L L<K!", Some("K")), "K staged: passed:M,L");
        assert_eq!(told("N<K M<L L<K!", Some("K")), "N staged:N passed:");
        assert_eq!(told("N<M! M<L L<K", Some("K")), "M staged:M,L passed:N");
    }

    #[test]
    fn what_does_not_descend_from_the_active_one_is_passed_over() {
        // K was active, M was staged on it, then L (a copy of an older release) was promoted.
        assert_eq!(told("M<K", Some("L")), "L staged: passed:M");
        assert_eq!(told("M<", Some("L")), "L staged: passed:M");
    }

    #[test]
    fn what_stands_on_a_release_that_is_gone_is_passed_over() {
        // L was collected: whether M descends from K is not known any more.
        assert_eq!(told("M<L", Some("K")), "K staged: passed:M");
        assert_eq!(told("N<K M<L", Some("K")), "N staged:N passed:");
        assert_eq!(of("N", "N<K M<L", Some("K")), " passed:M aside");
        assert_eq!(of("M", "N<K M<L", Some("K")), " passed:");
    }

    #[test]
    fn while_nothing_is_active_the_newest_is_stood_on() {
        assert_eq!(told("", None), " staged: passed:");
        assert_eq!(told("L<K! K<", None), "L staged: passed:");
    }

    /// What a release includes, then what was passed over for it and why.
    fn of(release: &str, newer: &str, active: Option<&str>) -> String {
        let active = active.map(id);
        let told = super::told(&id(release), &kin(newer), active.as_ref());
        let short = |id: &ReleaseId| id.as_str().trim_start_matches(['R', 'A']).to_owned();
        let includes: Vec<_> = told.includes.iter().map(short).collect();
        let passed = told.passed_over.iter().map(|(id, flaw)| match flaw {
            Flaw::Own => format!("{}!", short(id)),
            Flaw::Under(under) => format!("{}<{}!", short(id), short(under)),
            Flaw::Aside => format!("{} aside", short(id)),
        });
        format!(
            "{} passed:{}",
            includes.join(","),
            passed.collect::<Vec<_>>().join(",")
        )
    }

    #[test]
    fn a_release_tells_what_is_staged_in_it() {
        assert_eq!(of("L", "L<K", Some("K")), " passed:");
        assert_eq!(of("N", "N<M M<L L<K", Some("K")), "L,M passed:");
        assert_eq!(of("M", "N<M M<L L<K", Some("K")), "L passed:");
    }

    #[test]
    fn a_release_tells_what_was_passed_over_and_why() {
        assert_eq!(of("M", "M<K L<K!", Some("K")), " passed:L!");
        assert_eq!(of("N", "N<K M<L L<K!", Some("K")), " passed:M<L!,L!");
        assert_eq!(of("N", "N<M M<K L<D", Some("K")), "M passed:");
        assert_eq!(of("N", "N<K M<D L<K!", Some("K")), " passed:M aside,L!");
    }

    #[test]
    fn what_somebody_chose_to_leave_behind_was_not_passed_over() {
        assert_eq!(of("M", "M<K L<K", Some("K")), " passed:");
        assert_eq!(of("M", "M<D L<K", Some("K")), " passed:");
    }

    #[test]
    fn of_the_active_one_and_of_older_ones_there_is_nothing_to_tell() {
        assert_eq!(of("K", "L<K", Some("K")), " passed:");
        assert_eq!(of("L", "L<K!", None), " passed:");
    }

    #[test]
    fn the_start_has_two_words_and_releases() {
        assert_eq!("active".parse(), Ok(Start::Active));
        assert_eq!("newest".parse(), Ok(Start::Newest));
        assert_eq!(id("B").as_str().parse(), Ok(Start::Release(id("B"))));
        assert!("latest".parse::<Start>().is_err());
    }

    /// The way down, followed as it is defined.
    fn way<'k>(from: &ReleaseId, newer: &'k [Kin], active: &ReleaseId) -> Option<Vec<&'k Kin>> {
        let mut way = Vec::new();
        let mut rest = newer;
        let mut wanted = from;
        while wanted != active {
            let at = rest.iter().position(|kin| kin.id == *wanted)?;
            way.push(&rest[at]);
            wanted = rest[at].parent.as_ref()?;
            rest = &rest[at + 1..];
        }
        Some(way)
    }

    fn base_as_defined(newer: &[Kin], active: &ReleaseId) -> Base {
        let chosen = newer.iter().position(|kin| {
            way(&kin.id, newer, active).is_some_and(|way| way.iter().all(|kin| !kin.flawed))
        });
        let ids = |kin: &[&Kin]| kin.iter().map(|kin| kin.id.clone()).collect::<Vec<_>>();
        let staged = chosen.and_then(|index| way(&newer[index].id, newer, active));
        let staged = staged.map_or(Vec::new(), |way| ids(&way));
        Base {
            release: Some(staged.first().unwrap_or(active).clone()),
            staged,
            passed_over: newer[..chosen.unwrap_or(newer.len())]
                .iter()
                .map(|kin| kin.id.clone())
                .collect(),
        }
    }

    fn told_as_defined(release: &ReleaseId, newer: &[Kin], active: &ReleaseId) -> Told {
        let place = newer.iter().position(|kin| kin.id == *release);
        let Some((place, parent)) = place.and_then(|at| Some((at, newer[at].parent.as_ref()?)))
        else {
            return Told::default();
        };
        let older = &newer[place + 1..];
        let Some(includes) = way(parent, older, active) else {
            return Told::default();
        };
        let flaw = |kin: &Kin| match way(&kin.id, newer, active) {
            _ if kin.flawed => Some(Flaw::Own),
            None => Some(Flaw::Aside),
            Some(way) => way
                .iter()
                .find(|kin| kin.flawed)
                .map(|under| Flaw::Under(under.id.clone())),
        };
        let between = older.iter().take_while(|kin| kin.id != *parent);
        Told {
            includes: includes.iter().rev().map(|kin| kin.id.clone()).collect(),
            passed_over: between
                .filter_map(|kin| Some((kin.id.clone(), flaw(kin)?)))
                .collect(),
        }
    }

    fn numbered(number: usize) -> ReleaseId {
        ReleaseId::from_random((number as u128).to_le_bytes())
    }

    /// Releases newest first, each made from an older one, from the active one (0), from nothing, or from one that is gone.
    fn histories() -> impl Strategy<Value = Vec<Kin>> {
        let one = (0..10_usize, any::<prop::sample::Index>(), 0..5_u8);
        prop::collection::vec(one, 0..12).prop_map(|drawn| {
            let count = drawn.len();
            let kin = drawn
                .into_iter()
                .enumerate()
                .map(|(at, (kind, older, luck))| Kin {
                    id: numbered(count - at),
                    parent: match kind {
                        0 => None,
                        1 => Some(numbered(1_000)),
                        // The numbers of older ones, and 0.
                        _ => Some(numbered(older.index(count - at))),
                    },
                    flawed: luck == 0,
                });
            kin.collect()
        })
    }

    proptest! {
        #[test]
        fn ways_are_found_at_once_as_one_by_one(newer in histories()) {
            let active = numbered(0);
            prop_assert_eq!(base(&newer, Some(&active)), base_as_defined(&newer, &active));
            for kin in &newer {
                let found = super::told(&kin.id, &newer, Some(&active));
                prop_assert_eq!(found, told_as_defined(&kin.id, &newer, &active));
            }
        }
    }

    #[test]
    fn ten_thousand_staged_changes_are_one_way() {
        let newest = 10_000;
        let newer: Vec<_> = (1..=newest)
            .rev()
            .map(|number| Kin {
                id: numbered(number),
                parent: Some(numbered(number - 1)),
                flawed: false,
            })
            .collect();
        let base = base(&newer, Some(&numbered(0)));
        assert_eq!(base.release, Some(numbered(newest)));
        assert_eq!(base.staged.len(), newest);
        let told = super::told(&numbered(newest), &newer, Some(&numbered(0)));
        assert_eq!(told.includes.len(), newest - 1);
    }
}
