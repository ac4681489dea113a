//! What served, and which release a way back leads to.
//!
//! Only what a promotion made active counts. A rollback promotes a copy; here the copy stands for the release that it was
//! made from, and takes away what it went back over: rolling back again goes further back, never to and fro.

use crate::id::ReleaseId;

/// The releases that served, as far as a rollback did not leave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served(Vec<ReleaseId>);

impl Served {
    /// Adds what a promotion made active; they come oldest first. Of a copy that a rollback made, `release` is what it is
    /// a copy of. `back` is whether this promotion was a rollback.
    pub fn add(&mut self, release: ReleaseId, back: bool) {
        let known = self.0.iter().rposition(|before| *before == release);
        match known {
            Some(at) if back => self.0.truncate(at + 1),
            Some(at) if at + 1 == self.0.len() => {}
            _ => self.0.push(release),
        }
    }

    /// What a rollback without a release goes to: the last one that served before the active one.
    pub fn last_good(&self) -> Option<&ReleaseId> {
        self.ways_back().next()
    }

    /// What served last: the active release, or what that is a copy of.
    pub fn last(&self) -> Option<&ReleaseId> {
        self.0.last()
    }

    /// What a rollback goes to, and then what further ones would, each once.
    pub fn ways_back(&self) -> impl Iterator<Item = &ReleaseId> {
        let before = self.0.len().saturating_sub(1);
        let latest = |(at, release): &(usize, &ReleaseId)| !self.0[at + 1..].contains(release);
        let before = self.0[..before].iter().enumerate().rev();
        before.filter(latest).map(|(_, release)| release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a rollback goes to after these promotions: `A` was promoted, `<A` gone back to.
    fn last_good(promotions: &str) -> Option<String> {
        let mut served = Served::default();
        for word in promotions.split_whitespace() {
            let letter = word.trim_start_matches('<');
            let release = format!("R{}", letter.repeat(10)).parse().expect("an id");
            served.add(release, word.starts_with('<'));
        }
        let letter = |release: &ReleaseId| release.as_str()[1..2].to_owned();
        served.last_good().map(letter)
    }

    #[test]
    fn a_rollback_goes_to_what_served_before() {
        assert_eq!(last_good(""), None);
        assert_eq!(last_good("A"), None);
        assert_eq!(last_good("A B").as_deref(), Some("A"));
        assert_eq!(last_good("A B A").as_deref(), Some("B"));
    }

    #[test]
    fn rollbacks_go_back_in_time_and_not_to_and_fro() {
        assert_eq!(last_good("A B A <B").as_deref(), Some("A"));
        assert_eq!(last_good("A B A <B <A"), None);
        assert_eq!(last_good("A B C D <C <B").as_deref(), Some("A"));
        assert_eq!(last_good("A B C <A"), None);
        assert_eq!(last_good("A B <A C").as_deref(), Some("A"));
    }

    #[test]
    fn further_rollbacks_go_further_back() {
        let mut served = Served::default();
        for letter in ["A", "B", "A", "C", "B", "D"] {
            let release = format!("R{}", letter.repeat(10)).parse().expect("an id");
            served.add(release, false);
        }
        let ways: Vec<_> = served.ways_back().map(|id| &id.as_str()[..2]).collect();
        assert_eq!(ways, ["RB", "RC", "RA"]);
    }

    #[test]
    fn a_restart_changes_nothing() {
        assert_eq!(last_good("A B B").as_deref(), Some("A"));
    }

    #[test]
    fn what_never_served_before_is_served_by_going_back_to_it() {
        assert_eq!(last_good("A B <F").as_deref(), Some("B"));
        assert_eq!(last_good("A B <F <B").as_deref(), Some("A"));
    }
}
