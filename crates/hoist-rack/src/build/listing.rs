//! A source by the contents of its files: what a client lists, checked as an archive's entries are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hoist_core::archive_path::{self, Entries};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::RackError;

/// Bytes that the files of a source may have together.
pub(crate) const SOURCE_BYTES_MAX: u64 = 4 << 30;

/// SHA-256 of a content or of a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// Of bytes at hand.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = RackError;

    fn from_str(text: &str) -> Result<Self, RackError> {
        let wrong = || RackError::Archive("a SHA-256 is 64 digits in lower case".to_owned());
        let hex = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(wrong()),
        };
        let mut digest = [0; 32];
        if text.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = hex(pair[0])? << 4 | hex(pair[1])?;
        }
        Ok(Self(digest))
    }
}

/// What is at a path of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content, Mode),
    /// A symbolic link that stays inside, and what it says.
    Link(String),
}

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// How many they are.
    pub(crate) size: u64,
}

/// Whether a file can be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It cannot.
    Plain,
    /// It can.
    Executable,
}

/// All that belongs to a source. Every path of it may be written below an empty directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    items: BTreeMap<PathBuf, Item>,
    /// Names it: the same list has the same id.
    pub(crate) id: Digest,
}

impl Listing {
    /// Checks what a client lists.
    ///
    /// # Errors
    /// [`RackError::Archive`] for what would be refused in an archive or is there twice, [`RackError::TooLarge`].
    pub(crate) fn new(list: impl IntoIterator<Item = (String, Item)>) -> Result<Self, RackError> {
        let mut entries = Entries::new();
        let mut items = BTreeMap::new();
        let mut bytes: u64 = 0;
        for (path, item) in list {
            let entry = match &item {
                Item::Directory => archive_path::Entry::Directory,
                Item::File(..) => archive_path::Entry::File,
                Item::Link(target) => archive_path::Entry::SymbolicLink(target.as_bytes()),
            };
            if let Item::File(content, _) = &item {
                bytes = bytes.saturating_add(content.size);
            }
            let admitted = entries.admit(path.as_bytes(), entry);
            let admitted = admitted.map_err(|error| RackError::Archive(error.to_string()))?;
            // The top itself always is.
            if admitted.as_os_str().is_empty() {
                continue;
            }
            if items.insert(admitted, item).is_some() {
                return Err(RackError::Archive(format!("`{path}` is in it twice")));
            }
        }
        if bytes > SOURCE_BYTES_MAX {
            return Err(RackError::TooLarge {
                limit_bytes: SOURCE_BYTES_MAX,
            });
        }
        let id = Digest::of(&text_of(&items)?);
        Ok(Self { items, id })
    }

    /// Reads what [`Listing::to_text`] wrote.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, RackError> {
        let unreadable = |error: serde_json::Error| RackError::Archive(error.to_string());
        let rows: Vec<Row> = serde_json::from_slice(text).map_err(unreadable)?;
        let items: Result<Vec<_>, _> = rows.into_iter().map(Row::into_item).collect();
        Self::new(items?)
    }

    /// The list for a file.
    pub(crate) fn to_text(&self) -> Result<Vec<u8>, RackError> {
        text_of(&self.items)
    }

    /// What is where, directories before what is in them.
    pub(crate) fn items(&self) -> impl Iterator<Item = (&PathBuf, &Item)> {
        self.items.iter()
    }

    /// Whether something other than a directory is at a path.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        let item = self.items.get(std::path::Path::new(path));
        item.is_some_and(|item| *item != Item::Directory)
    }

    /// The contents that it names, each once.
    pub(crate) fn contents(&self) -> BTreeSet<Content> {
        let content = |item: &Item| match item {
            Item::File(content, _) => Some(*content),
            Item::Directory | Item::Link(_) => None,
        };
        self.items.values().filter_map(content).collect()
    }
}

/// One path in a file.
#[derive(Serialize, Deserialize)]
struct Row {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<(u64, String, bool)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl Row {
    fn into_item(self) -> Result<(String, Item), RackError> {
        let item = match (self.file, self.link) {
            (Some((size, digest, executable)), _) => {
                let digest = digest.parse()?;
                let mode = if executable {
                    Mode::Executable
                } else {
                    Mode::Plain
                };
                Item::File(Content { digest, size }, mode)
            }
            (None, Some(target)) => Item::Link(target),
            (None, None) => Item::Directory,
        };
        Ok((self.path, item))
    }
}

fn text_of(items: &BTreeMap<PathBuf, Item>) -> Result<Vec<u8>, RackError> {
    let rows: Vec<Row> = items
        .iter()
        .map(|(path, item)| Row {
            // Paths come from text, and admitting them adds nothing.
            path: path.to_string_lossy().into_owned(),
            file: match item {
                Item::File(content, mode) => Some((
                    content.size,
                    content.digest.to_string(),
                    *mode == Mode::Executable,
                )),
                _ => None,
            },
            link: match item {
                Item::Link(target) => Some(target.clone()),
                _ => None,
            },
        })
        .collect();
    serde_json::to_vec(&rows).map_err(|error| RackError::Archive(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> Item {
        let digest = Digest::of(b"x");
        Item::File(Content { digest, size }, Mode::Plain)
    }

    fn listed(list: &[(&str, Item)]) -> Result<Listing, RackError> {
        Listing::new(
            list.iter()
                .map(|(path, item)| ((*path).to_owned(), item.clone())),
        )
    }

    #[test]
    fn what_an_archive_may_not_have_is_refused() {
        let link = |target: &str| Item::Link(target.to_owned());
        let cases = [
            vec![("/etc/passwd", file(1))],
            vec![("../x", file(1))],
            vec![("a/../../x", file(1))],
            vec![("", file(1))],
            vec![("a\0b", file(1))],
            vec![(".", file(1))],
            vec![("l", link("../x"))],
            vec![("l", link("/etc"))],
            vec![("l", link("a")), ("l/x", file(1))],
            vec![("x", file(1)), ("x/y", file(1))],
            vec![("x", file(1)), ("x", file(1))],
            vec![("x", file(1)), ("./x", file(1))],
            vec![("x", link("y")), ("x", link("y"))],
        ];
        for case in cases {
            let refused = listed(&case);
            assert!(matches!(refused, Err(RackError::Archive(_))), "{case:?}");
        }
        let large = listed(&[("a", file(SOURCE_BYTES_MAX)), ("b", file(1))]);
        assert!(matches!(large, Err(RackError::TooLarge { .. })));
        let overflow = listed(&[("a", file(u64::MAX)), ("b", file(u64::MAX))]);
        assert!(matches!(overflow, Err(RackError::TooLarge { .. })));
    }

    #[test]
    fn the_id_is_of_the_list_and_not_of_its_order() {
        let one = listed(&[("b", file(1)), ("a/c", file(1))]).expect("a list");
        let other = listed(&[("./", Item::Directory), ("a/c", file(1)), ("b", file(1))]);
        assert_eq!(one.id, other.expect("a list").id);
        let executable = Item::File(
            Content {
                digest: Digest::of(b"x"),
                size: 1,
            },
            Mode::Executable,
        );
        for different in [
            listed(&[("b", file(1))]),
            listed(&[("b", file(1)), ("a/d", file(1))]),
            listed(&[("b", executable), ("a/c", file(1))]),
            listed(&[("b", file(1)), ("a/c", file(1)), ("e", Item::Directory)]),
        ] {
            assert_ne!(one.id, different.expect("a list").id);
        }
        let text = one.to_text().expect("text");
        assert_eq!(Listing::from_text(&text).expect("read"), one);
    }

    #[test]
    fn digests_are_read_strictly() {
        let digest = Digest::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().expect("a digest"), digest);
        for wrong in ["", "e3", &text.to_uppercase(), &text.replace('e', "/")] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
