//! Which release the next one is made from: staged changes add up, and nothing is ever built on what failed.
//!
//! The base is the newest release that descends from the active one, with nothing on the way between them of which a
//! promotion went wrong. What was staged between the two goes out with the next promotion, and is told; what is newer and
//! was passed over is told as well.

use crate::id::ReleaseId;

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
    let chosen = newer
        .iter()
        .enumerate()
        .find_map(|(index, kin)| Some((index, way(kin, newer, active)?)));
    let (index, staged) = chosen.unwrap_or((newer.len(), Vec::new()));
    Base {
        release: Some(staged.first().unwrap_or(active).clone()),
        staged,
        passed_over: newer[..index].iter().map(|kin| kin.id.clone()).collect(),
    }
}

/// The releases from one down to the active one, which is left out; none when it does not descend from it without a flaw.
fn way(from: &Kin, newer: &[Kin], active: &ReleaseId) -> Option<Vec<ReleaseId>> {
    let mut way = Vec::new();
    let mut rest = newer;
    let mut wanted = &from.id;
    while wanted != active {
        // A parent is older than its child, so the search goes on behind it.
        let at = rest.iter().position(|kin| kin.id == *wanted)?;
        let kin = &rest[at];
        if kin.flawed {
            return None;
        }
        way.push(kin.id.clone());
        wanted = kin.parent.as_ref()?;
        rest = &rest[at + 1..];
    }
    Some(way)
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
}
