//! Which entries of an uploaded archive may be unpacked: nothing may be written, linked or read outside of its directory.
//!
//! The check is on names alone and assumes that the directory was empty before the first entry and that nobody else
//! writes to it. It is sound because of four rules that hold together: no path has `..`; nothing is unpacked below a
//! link; a link climbs (`..`) only at its beginning and never above the top; a hard link is to a file that was unpacked
//! before. So following any link, by way of any other, ends inside.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Most entries of one archive.
pub const ENTRIES_MAX: usize = 200_000;
/// Longest path of an entry in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Deepest path of an entry.
pub const PATH_DEPTH_MAX: usize = 64;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link to this target, which counts from the directory that the link is in.
    SymbolicLink(&'a [u8]),
    /// A second name of the file at this path, which counts from the top of the archive.
    HardLink(&'a [u8]),
    /// A device, a pipe, a socket: anything else.
    Other,
}

/// Why an entry is not unpacked. Nothing of an archive with such an entry should be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its path is absolute or climbs with `..`.
    #[error("`{0}` in the archive points outside of it")]
    Outside(String),
    /// Its path is empty, too long, too deep, or has a NUL byte.
    #[error("`{0}` in the archive is not a path that can be unpacked")]
    BadPath(String),
    /// A link leads outside, or climbs after it descended, which other links could turn into a way out.
    #[error("the link `{path}` in the archive leads outside of it, to `{target}`")]
    LinkOutside {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// It would be written through a link, or something of another kind is already there.
    #[error("`{0}` in the archive is in the way of another entry, or below a link")]
    InTheWay(String),
    /// A hard link to something that is not a file of this archive.
    #[error(
        "the link `{path}` in the archive is to `{target}`, which is not a file that came before"
    )]
    HardLinkToNothing {
        /// The link.
        path: String,
        /// What it is to.
        target: String,
    },
    /// Neither file, directory nor link.
    #[error("`{0}` in the archive is neither a file, a directory nor a link")]
    Special(String),
    /// More entries than an archive may have.
    #[error("the archive has more than {ENTRIES_MAX} entries")]
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Link,
}

/// The entries of one archive that were let in so far, in their order.
#[derive(Debug, Default)]
pub struct Entries {
    known: BTreeMap<Vec<Vec<u8>>, Kind>,
}

impl Entries {
    /// An archive of which nothing was unpacked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides about the next entry. Returns its path below the directory, free of `.` and `..`; empty for the top
    /// itself, as in `./`.
    ///
    /// # Errors
    /// [`Refused`], in words for the person who sent the archive.
    pub fn admit(&mut self, path: &[u8], entry: Entry<'_>) -> Result<PathBuf, Refused> {
        if self.known.len() >= ENTRIES_MAX {
            return Err(Refused::TooMany);
        }
        let parts = parts(path)?;
        let kind = match entry {
            Entry::Directory => Kind::Directory,
            Entry::File => Kind::File,
            Entry::SymbolicLink(target) => {
                link(path, &parts, target)?;
                Kind::Link
            }
            Entry::HardLink(target) => {
                self.hard_link(path, target)?;
                Kind::File
            }
            Entry::Other => return Err(Refused::Special(shown(path))),
        };
        if parts.is_empty() {
            let top = kind == Kind::Directory;
            return if top {
                Ok(PathBuf::new())
            } else {
                Err(Refused::BadPath(shown(path)))
            };
        }
        self.place(path, &parts, kind)?;
        Ok(parts.iter().map(|part| OsStr::from_bytes(part)).collect())
    }

    /// Notes the entry and the directories above it.
    fn place(&mut self, path: &[u8], parts: &[Vec<u8>], kind: Kind) -> Result<(), Refused> {
        let in_the_way = || Refused::InTheWay(shown(path));
        for depth in 1..parts.len() {
            match self.known.get(&parts[..depth]) {
                Some(Kind::Directory) => {}
                Some(_) => return Err(in_the_way()),
                None => {
                    self.known.insert(parts[..depth].to_vec(), Kind::Directory);
                }
            }
        }
        match (self.known.get(parts), kind) {
            // A file that comes twice is the later one, as tar has it when it appends.
            (None, _)
            | (Some(Kind::Directory), Kind::Directory)
            | (Some(Kind::File), Kind::File) => {
                self.known.insert(parts.to_vec(), kind);
                Ok(())
            }
            _ => Err(in_the_way()),
        }
    }

    fn hard_link(&self, path: &[u8], target: &[u8]) -> Result<(), Refused> {
        let refused = || Refused::HardLinkToNothing {
            path: shown(path),
            target: shown(target),
        };
        let known = parts(target).map_err(|_| refused())?;
        match self.known.get(&known) {
            Some(Kind::File) => Ok(()),
            _ => Err(refused()),
        }
    }
}

/// The parts of a path that stays inside; `.` and repeated `/` are dropped.
fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains(&0) {
        return Err(Refused::BadPath(shown(path)));
    }
    if path.starts_with(b"/") {
        return Err(Refused::Outside(shown(path)));
    }
    let parts: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect();
    if parts.iter().any(|part| part == b"..") {
        return Err(Refused::Outside(shown(path)));
    }
    if parts.len() > PATH_DEPTH_MAX || parts.iter().any(|part| part.len() > 255) {
        return Err(Refused::BadPath(shown(path)));
    }
    Ok(parts)
}

/// Checks a symbolic link's target from the directory that the link is in.
fn link(path: &[u8], parts: &[Vec<u8>], target: &[u8]) -> Result<(), Refused> {
    let refused = || Refused::LinkOutside {
        path: shown(path),
        target: shown(target),
    };
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) {
        return Err(Refused::BadPath(shown(path)));
    }
    if target.starts_with(b"/") {
        return Err(refused());
    }
    let steps = target
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    let mut depth = parts.len().saturating_sub(1);
    let mut descended = false;
    for step in steps {
        if step == b".." {
            if descended || depth == 0 {
                return Err(refused());
            }
            depth -= 1;
        } else {
            descended = true;
        }
    }
    Ok(())
}

/// A name from an archive as it may stand in a message.
fn shown(path: &[u8]) -> String {
    const CHARS_MAX: usize = 120;
    String::from_utf8_lossy(path)
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_entries_pass() {
        let mut entries = Entries::new();
        assert_eq!(entries.admit(b"./", Entry::Directory), Ok(PathBuf::new()));
        assert_eq!(
            entries.admit(b"./bin/run", Entry::File),
            Ok(PathBuf::from("bin/run"))
        );
        assert_eq!(
            entries.admit(b"bin/", Entry::Directory),
            Ok(PathBuf::from("bin"))
        );
        assert_eq!(
            entries.admit(b"bin/go", Entry::SymbolicLink(b"run")),
            Ok(PathBuf::from("bin/go"))
        );
        assert_eq!(
            entries.admit(b"a/b/up", Entry::SymbolicLink(b"../../bin/./run")),
            Ok(PathBuf::from("a/b/up"))
        );
        assert_eq!(
            entries.admit(b"same", Entry::HardLink(b"bin/run")),
            Ok(PathBuf::from("same"))
        );
    }

    #[test]
    fn what_points_outside_is_refused() {
        let admit = |path: &[u8], entry| Entries::new().admit(path, entry);
        for path in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a/..", b".."] {
            assert!(
                matches!(admit(path, Entry::File), Err(Refused::Outside(_))),
                "{path:?}"
            );
        }
        for target in [&b"/etc"[..], b"..", b"x/..", b"../..", b"x/../../y"] {
            assert!(
                matches!(
                    admit(b"link", Entry::SymbolicLink(target)),
                    Err(Refused::LinkOutside { .. })
                ),
                "{target:?}"
            );
        }
        assert!(matches!(
            admit(b"l", Entry::HardLink(b"../x")),
            Err(Refused::HardLinkToNothing { .. })
        ));
        assert!(matches!(
            admit(b"tty", Entry::Other),
            Err(Refused::Special(_))
        ));
        for path in [&b""[..], b"a\0b", b"."] {
            assert!(
                matches!(admit(path, Entry::File), Err(Refused::BadPath(_))),
                "{path:?}"
            );
        }
    }

    #[test]
    fn nothing_is_unpacked_below_a_link_or_over_one() {
        let mut entries = Entries::new();
        entries.admit(b"real/x", Entry::File).unwrap();
        entries
            .admit(b"link", Entry::SymbolicLink(b"real"))
            .unwrap();
        assert!(matches!(
            entries.admit(b"link/x", Entry::File),
            Err(Refused::InTheWay(_))
        ));
        assert!(matches!(
            entries.admit(b"link", Entry::File),
            Err(Refused::InTheWay(_))
        ));
        assert!(matches!(
            entries.admit(b"real", Entry::SymbolicLink(b"x")),
            Err(Refused::InTheWay(_))
        ));
        assert!(matches!(
            entries.admit(b"hard", Entry::HardLink(b"link")),
            Err(Refused::HardLinkToNothing { .. })
        ));
        assert!(matches!(
            entries.admit(b"real/x/y", Entry::File),
            Err(Refused::InTheWay(_))
        ));
    }

    #[test]
    fn a_link_that_climbs_after_it_descended_is_refused() {
        // `deep/up` leads to the top; `deep/up/..` would be above it, though the words look as if it were `deep`.
        let mut entries = Entries::new();
        entries
            .admit(b"deep/up", Entry::SymbolicLink(b".."))
            .unwrap();
        let escape = entries.admit(b"escape", Entry::SymbolicLink(b"deep/up/.."));
        assert!(matches!(escape, Err(Refused::LinkOutside { .. })));
    }
}
