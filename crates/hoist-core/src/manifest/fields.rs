//! The reader's hands: takes maps apart by a table of keys, collects warnings, and turns a place into an error.

use std::collections::BTreeSet;

use super::error::one_line;
use super::keys::{Act, Key, nearest};
use super::tree::{Entry, Node, Value};
use super::{Dialect, ManifestError, Place, Warning};

/// What went wrong, and where; the file's name and text are added once, at the end.
#[derive(Debug)]
pub(super) struct Problem {
    place: Place,
    message: String,
}

impl Problem {
    pub(super) fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }

    /// The error that a caller sees.
    pub(super) fn in_file(self, file: &str, text: &str) -> ManifestError {
        ManifestError::Invalid {
            file: file.to_owned(),
            snippet: self.place.snippet(text),
            place: self.place,
            message: one_line(&self.message),
        }
    }
}

/// Where the reading of one manifest stands.
pub(super) struct Reader<'a> {
    pub(super) dialect: Dialect,
    file: &'a str,
    warnings: Vec<Warning>,
    seen: BTreeSet<(Option<u32>, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(dialect: Dialect, file: &'a str) -> Self {
        Self {
            dialect,
            file,
            warnings: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Notes what a person should know. The same about one line is noted once, however often an alias repeats it.
    pub(super) fn warn(&mut self, place: Place, message: impl Into<String>) {
        let message = one_line(&message.into());
        if self.seen.insert((place.line(), message.clone())) {
            self.warnings.push(Warning {
                file: self.file.to_owned(),
                line: place.line(),
                message,
            });
        }
    }

    /// All that was noted, in the order of the file.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
        warnings.sort_by_key(|warning| warning.line);
        warnings
    }

    /// Takes a map apart. `owner` names it in messages, as `service web`. Nothing is like an empty map.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        owner: &str,
        keys: &[Key],
    ) -> Result<Fields<'n>, Problem> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            other => {
                return Err(Problem::at(
                    node.place,
                    format!("{owner} must be a map, not {}", other.kind()),
                ));
            }
        };
        for entry in entries {
            self.judge(entry, owner, keys);
        }
        Ok(Fields { entries })
    }

    fn judge(&mut self, entry: &Entry, owner: &str, keys: &[Key]) {
        let name = &entry.key;
        match keys.iter().find(|key| key.name == name) {
            Some(key) if !key.known_to(self.dialect) => {
                self.warn(
                    entry.place,
                    format!("`{name}` is ignored: it is a key of hoist.yml"),
                );
            }
            Some(key) => {
                if let Act::Later(reason) = key.act {
                    self.warn(entry.place, format!("`{name}` is ignored: {reason}"));
                }
            }
            // Where people keep what anchors refer to.
            None if name.starts_with("x-") => {}
            None => {
                let dialect = self.dialect;
                let known = keys
                    .iter()
                    .filter(|key| key.known_to(dialect))
                    .map(|key| key.name);
                let meant = nearest(name, known)
                    .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
                self.warn(
                    entry.place,
                    format!("`{name}` is ignored: {owner} has no such key{meant}"),
                );
            }
        }
    }
}

/// A map whose keys were judged.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The value of a key; none when the key is missing or has nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
            .filter(|node| !matches!(node.value, Value::Null))
    }
}
