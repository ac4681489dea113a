//! Which release the next one is made from: staged changes add up, and nothing is ever built on what failed.
//!
//! The base is the newest release that descends from the active one, with nothing on the way between them of which a
//! promotion went wrong. What was staged between the two goes out with the next promotion, and is told; what is newer and
//! was passed over is told as well.

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
    let chosen = newer.iter().enumerate().find_map(|(index, kin)| {
        let way = way(&kin.id, newer, active)?;
        let sound = way.iter().all(|kin| !kin.flawed);
        sound.then(|| (index, ids(&way)))
    });
    let (index, staged) = chosen.unwrap_or((newer.len(), Vec::new()));
    Base {
        release: Some(staged.first().unwrap_or(active).clone()),
        staged,
        passed_over: newer[..index].iter().map(|kin| kin.id.clone()).collect(),
    }
}

fn ids(kin: &[&Kin]) -> Vec<ReleaseId> {
    kin.iter().map(|kin| kin.id.clone()).collect()
}

/// The releases from one down to the active one, which is left out; none when it does not descend from it.
fn way<'k>(from: &ReleaseId, newer: &'k [Kin], active: &ReleaseId) -> Option<Vec<&'k Kin>> {
    let mut way = Vec::new();
    let mut rest = newer;
    let mut wanted = from;
    while wanted != active {
        // A parent is older than its child, so the search goes on behind it.
        let at = rest.iter().position(|kin| kin.id == *wanted)?;
        let kin = &rest[at];
        way.push(kin);
        wanted = kin.parent.as_ref()?;
        rest = &rest[at + 1..];
    }
    Some(way)
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
    let older = &newer[place + 1..];
    let Some(parent) = &newer[place].parent else {
        return Told::default();
    };
    let Some(mut includes) = way(parent, older, active) else {
        // It is a copy, or somebody chose what it is made from.
        return Told::default();
    };
    let between = older.iter().take_while(|kin| kin.id != *parent);
    let passed_over = between.filter_map(|kin| Some((kin.id.clone(), flaw(kin, newer, active)?)));
    let passed_over = passed_over.collect();
    includes.reverse();
    Told {
        includes: ids(&includes),
        passed_over,
    }
}

fn flaw(kin: &Kin, newer: &[Kin], active: &ReleaseId) -> Option<Flaw> {
    if kin.flawed {
        return Some(Flaw::Own);
    }
    let Some(way) = way(&kin.id, newer, active) else {
        return Some(Flaw::Aside);
    };
    let under = way.iter().find(|kin| kin.flawed)?;
    Some(Flaw::Under(under.id.clone()))
}

#[cfg(test)]
mod tests {
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
}
