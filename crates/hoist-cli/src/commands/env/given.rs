//! `hoist env set`: what is to be set, from arguments, a file or standard input.
//!
//! All of it is read before anything is asked of the rack, so that what is not understood changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;
use hoist_core::env_text::{self, Problem};
use hoist_core::manifest::ENV_BYTES_MAX;

use super::{Change, once};
use crate::context::Context;
use crate::error::CliError;

/// More text than variables that fit can have, quotes and escapes among it.
const TEXT_BYTES_MAX: usize = 2 * ENV_BYTES_MAX;

#[derive(Debug, Args)]
pub(super) struct Set {
    /// What to set [default: lines of standard input]
    #[arg(value_name = "KEY=VALUE", value_parser = key_and_value)]
    variables: Vec<(String, String)>,
    /// Read a .env file, too; `-` is standard input. What is named beside it counts more
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Remove all other variables
    #[arg(long)]
    pub(super) replace: bool,
    #[command(flatten)]
    pub(super) change: Change,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Where variables are read from.
enum Origin {
    Input,
    File(PathBuf),
}

impl Set {
    /// Names of what is given, those that were typed first.
    pub(super) fn names<'g>(&'g self, given: &'g BTreeMap<String, String>) -> Vec<&'g String> {
        let typed = self.variables.iter().map(|(name, _)| name);
        let typed: Vec<_> = typed.collect();
        let others = given.keys().filter(|name| !typed.contains(name));
        let others: Vec<_> = others.collect();
        [typed, others].concat()
    }

    /// The variables that are given.
    pub(super) async fn given(
        &self,
        context: &Context<'_, '_>,
    ) -> Result<BTreeMap<String, String>, CliError> {
        let named = once(self.variables.iter().cloned())?;
        let environment = context.environment;
        let piped = environment.reads_input && !environment.stdin_terminal;
        let origin = match &self.file {
            Some(path) if path.as_os_str() == "-" => Origin::Input,
            Some(path) => Origin::File(environment.directory.join(path)),
            None if !named.is_empty() => return Ok(named),
            None if piped => Origin::Input,
            None => {
                return Err(CliError::usage(
                    "nothing is given to set",
                    "write KEY=VALUE, or give such lines on standard input or with --file",
                ));
            }
        };
        let label = match (&origin, &self.file) {
            (Origin::File(_), Some(path)) => path.display().to_string(),
            _ => "standard input".to_owned(),
        };
        // A thread of its own: Ctrl-C must end this although nothing comes.
        let read = tokio::task::spawn_blocking(move || origin.read()).await;
        let read = read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        let bytes = read.map_err(|source| CliError::io(format!("read {label}"), source))?;
        let mut given = variables(&bytes, &label)?;
        given.extend(named);
        if given.is_empty() {
            let hint = match self.replace {
                true => "to remove variables name them: `hoist env unset KEY...`",
                false => "it wants lines like KEY=VALUE",
            };
            let message = format!("there are no variables in {label}; nothing changed");
            return Err(CliError::refused(message, hint));
        }
        Ok(given)
    }
}

impl Origin {
    fn read(self) -> io::Result<Vec<u8>> {
        let all: Box<dyn Read> = match self {
            Self::Input => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path)?),
        };
        let mut bytes = Vec::new();
        all.take(TEXT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The variables of a text, or where it is not understood.
pub(super) fn variables(bytes: &[u8], label: &str) -> Result<BTreeMap<String, String>, CliError> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(CliError::refused(
            format!("{label} is larger than all variables together may be; nothing changed"),
            "keep large values in a file of the source",
        ));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        let line = bytes.utf8_chunks().next();
        let line = line.map_or(0, |chunk| chunk.valid().matches('\n').count()) + 1;
        return Err(CliError::refused(
            format!("{label}:{line}: this is not UTF-8; nothing changed"),
            "encode such values, for example as base64",
        ));
    };
    env_text::read(text).map_err(|unread| {
        let message = format!(
            "{label}:{}: {}; nothing changed",
            unread.line, unread.problem
        );
        CliError::refused(message, hint(&unread.problem))
    })
}

/// What helps against text that is not understood.
pub(super) fn hint(problem: &Problem) -> &'static str {
    match problem {
        Problem::NoVariable | Problem::Name => {
            "write NAME=value, and quotes around a value of several lines"
        }
        Problem::Unclosed { .. } => "close it, or put other quotes around the whole value",
        Problem::AfterQuote { .. } => "put other quotes around the whole value",
        Problem::Escape(_) => "there are \\n \\r \\t \\\\ \\\" \\' \\$ \\` and \\u{HEX}",
        Problem::Twice { .. } => "keep one of the lines",
        Problem::Hidden(_) => {
            "`hoist env --reveal` shows values; four stars as a value need quotes around them"
        }
        Problem::Value(_) => "keep such data in a file of the source, or encode it as base64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_understood_is_refused_with_its_place() {
        let refused = |bytes: &[u8]| {
            let error = variables(bytes, ".env").expect_err("refused");
            assert_eq!(error.exit_code(), 1);
            error.to_string()
        };
        let line = refused(b"A=1\nsecret words\n");
        assert_eq!(
            line,
            ".env:2: this is neither NAME=value nor a comment; nothing changed"
        );
        assert_eq!(
            refused(b"A=1\n\nB=\xff"),
            ".env:3: this is not UTF-8; nothing changed"
        );
        assert!(refused(&vec![b'#'; TEXT_BYTES_MAX + 1]).contains("larger"));
        assert!(variables(b"# only\n", ".env").is_ok_and(|found| found.is_empty()));
    }
}
