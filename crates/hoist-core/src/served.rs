//! What served, one after the other, and where a rollback goes from there.

use crate::id::ReleaseId;

/// Releases whose promotions succeeded, oldest first. Going back takes away what it went back over, so that two rollbacks
/// do not go to and fro. A copy that was made to go back counts as the release that it is a copy of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served(Vec<ReleaseId>);

impl Served {
    /// A promotion of `release` succeeded after all that were added before; `back` when it was a rollback.
    pub fn add(&mut self, release: ReleaseId, back: bool) {
        let known = self.0.iter().rposition(|before| *before == release);
        match known {
            Some(at) if back => self.0.truncate(at + 1),
            Some(at) if at + 1 == self.0.len() => {}
            _ => self.0.push(release),
        }
    }

    /// What served last.
    pub fn last(&self) -> Option<&ReleaseId> {
        self.0.last()
    }

    /// Where a rollback without a name goes, and then where further ones would, each once.
    pub fn ways_back(&self) -> impl Iterator<Item = &ReleaseId> {
        let before = self.0.len().saturating_sub(1);
        let newest = |(at, release): &(usize, &ReleaseId)| !self.0[at + 1..].contains(release);
        let before = self.0[..before].iter().enumerate().rev();
        before.filter(newest).map(|(_, release)| release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(letter: char) -> ReleaseId {
        let text: String = std::iter::once('R')
            .chain(std::iter::repeat_n(letter, 10))
            .collect();
        text.parse().expect("an id")
    }

    /// The ways back after these promotions; a lower-case letter is a rollback.
    fn ways(promotions: &str) -> String {
        let mut served = Served::default();
        for letter in promotions.chars() {
            let back = letter.is_ascii_lowercase();
            served.add(release(letter.to_ascii_uppercase()), back);
        }
        let ways = served.ways_back();
        ways.filter_map(|id| id.as_str().chars().nth(1)).collect()
    }

    #[test]
    fn rollbacks_go_back_in_time_and_not_to_and_fro() {
        assert_eq!(ways(""), "");
        assert_eq!(ways("A"), "");
        assert_eq!(ways("ABC"), "BA");
        assert_eq!(ways("ABA"), "B");
        assert_eq!(ways("ABAb"), "A");
        assert_eq!(ways("ABAba"), "");
        assert_eq!(ways("ABAbaCC"), "A");
        assert_eq!(ways("ABABC"), "BA");
    }
}
