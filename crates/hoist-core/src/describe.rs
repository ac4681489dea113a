//! The words by which a release tells in a list what it changed: its description.
//!
//! The grammar is fixed, because people and scripts read it: `build 7329df90c1 this is my commit message`,
//! `env add:FOO change:BAR remove:BAZ`, `rollback to RABCDEFGHIJ`. Names of variables are shown, values never.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::id::{BuildId, ReleaseId};

/// Most characters of a description.
pub const DESCRIPTION_CHARS_MAX: usize = 255;
/// How much of a commit's hash is shown.
const SHA_CHARS: usize = 10;

/// Describes a build of a clean working tree: `build`, ten characters of the commit's hash, and its subject.
pub fn commit(sha: &str, subject: &str) -> String {
    let short: String = sha.chars().take(SHA_CHARS).collect();
    one_line(&format!("build {short} {subject}"))
}

/// Describes a release made by going back.
pub fn rollback(to: &ReleaseId) -> String {
    format!("rollback to {to}")
}

/// Describes a release that takes its build from one release and its environment from another.
pub fn created_from(build: &BuildId, build_of: &ReleaseId, env_of: &ReleaseId) -> String {
    format!("created from {build} of {build_of}, env of {env_of}")
}

/// The lines between which two texts differ: with `-` those of the old one, then with `+` those of the new one. What they
/// have in common at their beginnings and ends is left out.
pub fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |(old, new): &(&&str, &&str)| old == new;
    let head = old.iter().zip(&new).take_while(same).count();
    let (old, new) = (&old[head..], &new[head..]);
    let ends = old.iter().rev().zip(new.iter().rev());
    let tail = ends.take_while(same).count();
    let removed = old[..old.len() - tail].iter();
    let added = new[..new.len() - tail].iter();
    removed
        .map(|line| format!("-{line}"))
        .chain(added.map(|line| format!("+{line}")))
        .collect()
}

/// What a user wrote as a description, made fit for one line of a list: white space and control characters become
/// single spaces, and what is longer than a description may be is cut and ends with `…`.
pub fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let line = words.join(" ");
    // Without the sign a name that is cut looks like another one.
    match line.char_indices().nth(DESCRIPTION_CHARS_MAX - 1) {
        Some((cut, last)) if cut + last.len_utf8() < line.len() => {
            format!("{}…", line[..cut].trim_end())
        }
        _ => line,
    }
}

/// Which variables differ between two environments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvChange {
    /// Names that only the new one has.
    pub added: BTreeSet<String>,
    /// Names that both have, with another value.
    pub changed: BTreeSet<String>,
    /// Names that only the old one has.
    pub removed: BTreeSet<String>,
}

impl EnvChange {
    /// Compares two environments. Values only need to be comparable, so sealed ones will do.
    pub fn between<V: PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> Self {
        let mut change = Self::default();
        for (name, value) in new {
            match old.get(name) {
                None => change.added.insert(name.clone()),
                Some(before) if before != value => change.changed.insert(name.clone()),
                Some(_) => false,
            };
        }
        let gone = |name: &&String| !new.contains_key(*name);
        change.removed = old.keys().filter(gone).cloned().collect();
        change
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl fmt::Display for EnvChange {
    /// Writes `env add:A add:B change:C remove:D`, names sorted in each group; nothing when nothing differs.
    ///
    /// It is not cut at [`DESCRIPTION_CHARS_MAX`]: a caller that keeps it as a description passes it to [`one_line`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        f.write_str("env")?;
        for (word, names) in [
            ("add", &self.added),
            ("change", &self.changed),
            ("remove", &self.removed),
        ] {
            for name in names {
                write!(f, " {word}:{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_commit_is_ten_characters_and_its_subject() {
        assert_eq!(
            commit(
                "7329df90c1aa3f6be3d2d59a0bd8f2bdf1c0a8c5",
                "this is my commit message"
            ),
            "build 7329df90c1 this is my commit message"
        );
        assert_eq!(commit("7329df90c1aa", ""), "build 7329df90c1");
        assert_eq!(
            commit("73é9df90c1aa", "a\n b\u{1b}[2J"),
            "build 73é9df90c1 a b [2J"
        );
    }

    #[test]
    fn env_groups_come_in_their_order_and_names_sorted() {
        let old = env(&[("BAR", "1"), ("BAZ", "1"), ("ABC", "1"), ("SAME", "1")]);
        let new = env(&[("BAR", "2"), ("FOO", "1"), ("ADD", "1"), ("SAME", "1")]);
        let change = EnvChange::between(&old, &new);
        assert_eq!(
            change.to_string(),
            "env add:ADD add:FOO change:BAR remove:ABC remove:BAZ"
        );
        assert_eq!(EnvChange::between(&new, &new).to_string(), "");
        assert!(EnvChange::between(&new, &new).is_empty());
    }

    #[test]
    fn a_value_is_never_shown() {
        let change = EnvChange::between(
            &env(&[("A", "old-secret")]),
            &env(&[("A", "new-secret"), ("B", "s3")]),
        );
        assert_eq!(change.to_string(), "env add:B change:A");
    }

    #[test]
    fn a_rollback_names_its_release() {
        let release = ReleaseId::from_random([7; 16]);
        assert_eq!(rollback(&release), format!("rollback to {release}"));
    }

    #[test]
    fn a_composed_release_names_both_of_its_sources() {
        let ids = ([1; 16], [2; 16], [3; 16]);
        let build = BuildId::from_random(ids.0);
        let (built, env) = (ReleaseId::from_random(ids.1), ReleaseId::from_random(ids.2));
        assert_eq!(
            created_from(&build, &built, &env),
            format!("created from {build} of {built}, env of {env}")
        );
    }

    #[test]
    fn lines_that_differ_are_shown_without_what_is_around_them() {
        assert_eq!(
            changed_lines("a\nb\nc\n", "a\nx\ny\nc\n"),
            ["-b", "+x", "+y"]
        );
        assert_eq!(changed_lines("a\na\n", "a\n"), ["-a"]);
        assert_eq!(changed_lines("", "a\n"), ["+a"]);
        assert!(changed_lines("a\nb", "a\nb\n").is_empty());
    }

    #[test]
    fn a_description_is_one_line_of_bounded_length() {
        assert_eq!(one_line("  two\r\nlines\t\u{7}x "), "two lines x");
        let whole = "é".repeat(DESCRIPTION_CHARS_MAX);
        assert_eq!(one_line(&whole), whole);
        let cut = one_line(&format!("{whole}é"));
        assert!(cut.ends_with("é…"));
        assert_eq!(one_line(&cut), cut);
        assert_eq!(
            one_line(&"é".repeat(400)).chars().count(),
            DESCRIPTION_CHARS_MAX
        );
    }
}
