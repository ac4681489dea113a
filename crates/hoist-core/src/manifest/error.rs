//! What a manifest's reader says when it cannot go on, or can but should not stay silent.

use std::fmt;

use super::{Dialect, MANIFEST_BYTES_MAX};

/// Why a manifest means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The source has none.
    #[error("no manifest: none of {}, {} and {} is there", Dialect::Hoist.file_name(), Dialect::Convox.file_name(), Dialect::Procfile.file_name())]
    Missing,
    /// The source has none, and its language does not say what runs.
    #[error("no manifest: {marker} says that it is {language}, and nothing says what to run")]
    NothingToRun {
        /// The language.
        language: &'static str,
        /// The file that gives it away.
        marker: &'static str,
    },
    /// More text than any manifest needs.
    #[error("{file}: {bytes} bytes, but a manifest has at most {MANIFEST_BYTES_MAX}")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// The text is not YAML, or more deeply nested or more often repeated than a manifest can be.
    #[error("{file}{place}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Where reading stopped.
        place: Place,
        /// What the parser said.
        message: String,
        /// The line with a mark below it.
        snippet: Option<String>,
    },
    /// It reads, but a value is not what its key takes.
    #[error("{file}{place}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// Where the value stands.
        place: Place,
        /// What is wrong with it, and what would be right.
        message: String,
        /// The line with a mark below it.
        snippet: Option<String>,
    },
}

impl ManifestError {
    /// The line it is about, from 1; none when it is about the whole file.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Missing | Self::NothingToRun { .. } | Self::TooLarge { .. } => None,
            Self::Syntax { place, .. } | Self::Invalid { place, .. } => place.line(),
        }
    }

    /// The line of the file with a mark below the place, to be shown under the message.
    pub fn snippet(&self) -> Option<&str> {
        match self {
            Self::Missing | Self::NothingToRun { .. } | Self::TooLarge { .. } => None,
            Self::Syntax { snippet, .. } | Self::Invalid { snippet, .. } => snippet.as_deref(),
        }
    }

    /// What to do about it, where the message does not already say it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing => Some(
                "write a hoist.yml with `services: {web: {command: ..., port: 3000}}`, or a Procfile with `web: command`",
            ),
            Self::NothingToRun { .. } => {
                Some("write a Procfile with `web: command`, or a hoist.yml")
            }
            Self::TooLarge { .. } => Some("keep data in files of the app, not in its manifest"),
            Self::Syntax { file, .. } if file.ends_with(".json") => {
                Some("JSON wants double quotes, and no comma behind the last of a list")
            }
            Self::Syntax { .. } => {
                Some("YAML nests by spaces: compare the indentation with the lines above")
            }
            Self::Invalid { .. } => None,
        }
    }
}

/// Where in a file something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a line and column, both from 1.
    At {
        /// Line.
        line: u32,
        /// Column, in characters.
        column: u32,
    },
    /// It is about the file as a whole, as when something is missing from it.
    WholeFile,
}

impl Place {
    /// The line, from 1.
    pub fn line(self) -> Option<u32> {
        match self {
            Self::At { line, .. } => Some(line),
            Self::WholeFile => None,
        }
    }

    /// The line of `text` with a mark below the column, as `12 | port: x` and `   |       ^`.
    pub(super) fn snippet(self, text: &str) -> Option<String> {
        const SHOWN_CHARS_MAX: usize = 160;
        let Self::At { line, column } = self else {
            return None;
        };
        let shown: String = text
            .lines()
            .nth(line.checked_sub(1)? as usize)?
            .chars()
            .take(SHOWN_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let gutter = line.to_string();
        let before = (column.saturating_sub(1) as usize).min(shown.chars().count());
        Some(format!(
            "{gutter} | {shown}\n{} | {}^",
            " ".repeat(gutter.len()),
            " ".repeat(before)
        ))
    }
}

impl fmt::Display for Place {
    /// Writes `:12:3`, or nothing for a whole file: it follows the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { line, column } => write!(f, ":{line}:{column}"),
            Self::WholeFile => Ok(()),
        }
    }
}

/// Something a person should know about a manifest that was read all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// The line, from 1; none when it is about the whole file.
    pub line: Option<u32>,
    /// What is not done, and why.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A message on one line: names and values in it come from a file and may hold anything.
pub(super) fn one_line(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
