//! Variables as text: what `hoist env` prints and `hoist env set` and `hoist env edit` read. What [`line`] writes,
//! [`read`] reads back as it was, whatever the value.
//!
//! ```text
//! text     = { line }                          lines end with LF or CRLF
//! line     = blanks ( comment | variable | "" )
//! variable = [ "export" blanks ] NAME blanks "=" blanks value
//! value    = "'" { any but "'" } "'" rest      over several lines, as it stands
//!          | '"' { any but '"' | escape } '"' rest    over several lines
//!          | plain rest                        to the end of the line, without blanks around it
//! escape   = \n \r \t \\ \" \' \$ \` \u{HEX}
//! rest     = blanks [ comment ]
//! comment  = "#" to the end of the line; after a plain value only behind a blank
//! ```
//!
//! A blank is a space or a tab; `NAME` is as [`check_env_name`] has it. Nothing is replaced: `$HOME` is five characters. A
//! quote is one only where a value begins, a backslash is one only between double quotes. A line end within quotes is LF.
//! Each name stands once. `****` is refused unless quoted: it stands for values that were not shown.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::manifest::{InvalidEnv, check_env_name, check_env_value};

/// What stands where a value is not shown.
pub const HIDDEN: &str = "****";

/// Text that is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Unread {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// Why a line is not understood. Never shows what stands there: it may be part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no `=`.
    #[error("this is neither NAME=value nor a comment")]
    NoVariable,
    /// What stands before the `=` is no name.
    #[error(
        "what stands before `=` is not a variable name: use letters, digits and `_`, not starting with a digit"
    )]
    Name,
    /// The text ends within a value.
    #[error("the value of `{name}` begins with {quote} and does not end")]
    Unclosed {
        /// The variable.
        name: String,
        /// Its quote.
        quote: char,
    },
    /// Something follows a quoted value.
    #[error("something follows the closing {quote} of the value of `{name}`")]
    AfterQuote {
        /// The variable.
        name: String,
        /// Its quote.
        quote: char,
    },
    /// A backslash between double quotes that means nothing.
    #[error("a backslash in the value of `{0}` is no escape: write \\\\, or use single quotes")]
    Escape(String),
    /// A name for the second time.
    #[error("`{name}` is set in line {first} already")]
    Twice {
        /// The variable.
        name: String,
        /// Where it is set before.
        first: usize,
    },
    /// Stars instead of a value.
    #[error("`{HIDDEN}` stands for a value of `{0}` that was not shown")]
    Hidden(String),
    /// The value cannot be one of a process.
    #[error(transparent)]
    Value(#[from] InvalidEnv),
}

/// Reads variables from text.
///
/// # Errors
/// The first line that is not understood.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, Unread> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let mut found = BTreeMap::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        let at = |problem| Unread { line, problem };
        let Some((name, value)) = reader.line().map_err(at)? else {
            continue;
        };
        check_env_value(&name, &value).map_err(|error| at(error.into()))?;
        match found.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert((line, value))),
            Entry::Occupied(entry) => {
                let (name, first) = (entry.key().clone(), entry.get().0);
                return Err(at(Problem::Twice { name, first }));
            }
        }
    }
    let values = found.into_iter();
    Ok(values.map(|(name, (_, value))| (name, value)).collect())
}

/// Writes one variable as text, without a line end: plainly where that reads back, else in quotes.
pub fn line(name: &str, value: &str) -> String {
    let begins = value.starts_with(['"', '\'', '#', ' ']);
    let comment = value.contains(" #");
    let plain = !begins && !comment && !value.ends_with(' ') && value != HIDDEN;
    if plain && !value.contains(char::is_control) {
        return format!("{name}={value}");
    }
    let literal = |c: char| c != '\'' && (!c.is_control() || matches!(c, '\n' | '\t'));
    if value.chars().all(literal) {
        return format!("{name}='{value}'");
    }
    let mut text = format!("{name}=\"");
    for c in value.chars() {
        match c {
            // Shells would read a dollar sign and a backtick.
            '\\' | '"' | '$' | '`' => text.extend(['\\', c]),
            '\r' => text.push_str("\\r"),
            '\n' | '\t' => text.push(c),
            c if c.is_control() => text.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

struct Reader<'t> {
    rest: &'t str,
    /// Where the rest begins.
    line: usize,
}

impl Reader<'_> {
    /// What stands on one line, or on several that quotes hold together; none when it is no variable.
    fn line(&mut self) -> Result<Option<(String, String)>, Problem> {
        self.skip_blanks();
        let line = self.rest.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            self.end_line();
            return Ok(None);
        }
        let (before, _) = line.split_once('=').ok_or(Problem::NoVariable)?;
        let exported = before
            .strip_prefix("export")
            .filter(|name| name.starts_with(BLANK));
        let name = exported.unwrap_or(before).trim_matches(BLANK).to_owned();
        check_env_name(&name).map_err(|_| Problem::Name)?;
        self.rest = &self.rest[before.len() + 1..];
        let value = match self.rest.trim_start_matches(BLANK).chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.skip_blanks();
                self.rest = &self.rest[1..];
                let value = self.quoted(&name, quote)?;
                if !self.ends_here() {
                    return Err(Problem::AfterQuote { name, quote });
                }
                value
            }
            _ => match plain(&line[before.len() + 1..]) {
                HIDDEN => return Err(Problem::Hidden(name)),
                value => value.to_owned(),
            },
        };
        self.end_line();
        Ok(Some((name, value)))
    }

    /// The rest of a quoted value and its closing quote.
    fn quoted(&mut self, name: &str, quote: char) -> Result<String, Problem> {
        let mut value = String::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next().ok_or_else(|| Problem::Unclosed {
                name: name.to_owned(),
                quote,
            })?;
            self.rest = chars.as_str();
            match next {
                c if c == quote => return Ok(value),
                '\\' if quote == '"' => {
                    let escaped = self.escape();
                    value.push(escaped.ok_or_else(|| Problem::Escape(name.to_owned()))?);
                }
                '\r' if self.rest.starts_with('\n') => {}
                c => {
                    self.line += usize::from(c == '\n');
                    value.push(c);
                }
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let escaped = match chars.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('\\' | '"' | '\'' | '$' | '`') => c,
            'u' => {
                let (digits, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                let hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| hex)?;
                chars = rest.chars();
                char::from_u32(code)?
            }
            _ => return None,
        };
        self.rest = chars.as_str();
        Some(escaped)
    }

    /// Whether only blanks or a comment stand before the end of the line.
    fn ends_here(&self) -> bool {
        let rest = self.rest.trim_start_matches(BLANK);
        rest.is_empty() || rest.starts_with(['#', '\n']) || rest.starts_with("\r\n")
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANK);
    }

    fn end_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        self.line += 1;
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// A value without quotes: without the blanks around it, and without a comment behind a blank.
fn plain(text: &str) -> &str {
    let comment = text
        .match_indices('#')
        .find(|(at, _)| text[..*at].ends_with(BLANK));
    let value = comment.map_or(text, |(at, _)| &text[..at]);
    value.trim_matches(BLANK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).expect(text).into_iter().collect()
    }

    fn one(text: &str) -> String {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{text:?}: {pairs:?}");
        assert_eq!(pairs[0].0, "A", "{text:?}");
        pairs[0].1.clone()
    }

    fn refused(text: &str) -> (usize, Problem) {
        let error = read(text).expect_err(text);
        (error.line, error.problem)
    }

    #[test]
    fn plain_values_end_with_their_line_or_a_comment() {
        for (text, value) in [
            ("A=1", "1"),
            ("A=", ""),
            ("A=\n", ""),
            ("export A=1\n", "1"),
            ("  A = two words \t\r\n", "two words"),
            ("A=a#b", "a#b"),
            ("A=#b", "#b"),
            ("A=a # b # c", "a"),
            ("A= # nothing", ""),
            ("A=it's \"so\" \\n $HOME", "it's \"so\" \\n $HOME"),
            ("A={\"a\": [1]}", "{\"a\": [1]}"),
            ("A=b=c==", "b=c=="),
            ("\u{feff}# first\n\n \t\n#\nA=ü", "ü"),
        ] {
            assert_eq!(one(text), value, "{text:?}");
        }
    }

    #[test]
    fn quotes_hold_lines_together() {
        for (text, value) in [
            ("A='' # none", ""),
            ("A='it is # \\n \"so\" $B'", "it is # \\n \"so\" $B"),
            ("A= ' x '\t", " x "),
            ("A='one\ntwo\r\nthree'\r\n", "one\ntwo\nthree"),
            ("A=\"one\n  two\"#c", "one\n  two"),
            (
                r#"A="\n\r\t\\\"\'\$\`\u{1b}\u{FC}""#,
                "\n\r\t\\\"'$`\u{1b}ü",
            ),
            ("A=\"it's $HOME\"", "it's $HOME"),
            ("export A=\"x\"", "x"),
        ] {
            assert_eq!(one(text), value, "{text:?}");
        }
        let text = "A='1\n2'\nB=3\nexport=4\n";
        let expected = [("A", "1\n2"), ("B", "3"), ("export", "4")];
        assert_eq!(
            pairs(text),
            expected.map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_where_it_stands() {
        let a = || "A".to_owned();
        let escape = || Problem::Escape(a());
        let unclosed = |quote| Problem::Unclosed { name: a(), quote };
        let after = |quote| Problem::AfterQuote { name: a(), quote };
        let twice = Problem::Twice {
            name: a(),
            first: 1,
        };
        for (text, line, problem) in [
            ("\n\nwords", 3, Problem::NoVariable),
            ("export A", 1, Problem::NoVariable),
            ("A: 1", 1, Problem::NoVariable),
            ("B=1\n=2", 2, Problem::Name),
            ("1A=2", 1, Problem::Name),
            ("A-B=2", 1, Problem::Name),
            ("exportA B=2", 1, Problem::Name),
            ("A B=2", 1, Problem::Name),
            ("B='1\n2'\nA='x\n\n", 3, unclosed('\'')),
            ("A=\"x\\", 1, escape()),
            ("A=\"x\\\"", 1, unclosed('"')),
            ("A=\"x\"y", 1, after('"')),
            ("A='x' y # z", 1, after('\'')),
            ("A=\"\\d\"", 1, escape()),
            ("A=\"\\\nx\"", 1, escape()),
            ("A=\"\\u{}\"", 1, escape()),
            ("A=\"\\u{+41}\"", 1, escape()),
            ("A=\"\\u{d800}\"", 1, escape()),
            ("A=\"\\u41\"", 1, escape()),
            ("A=1\nB=2\nA=1", 3, twice),
            ("A=****", 1, Problem::Hidden(a())),
            ("A=x\0", 1, Problem::Value(InvalidEnv::Nul(a()))),
            ("A=\"\\u{0}\"", 1, Problem::Value(InvalidEnv::Nul(a()))),
        ] {
            assert_eq!(refused(text), (line, problem), "{text:?}");
        }
        assert_eq!(one("A='****'"), HIDDEN);
    }

    #[test]
    fn a_value_is_written_as_plainly_as_it_reads_back() {
        for (value, text) in [
            ("", "A="),
            ("two words", "A=two words"),
            ("a#b", "A=a#b"),
            ("it's \"so\" $HOME \\d", "A=it's \"so\" $HOME \\d"),
            ("#b", "A='#b'"),
            ("a #b", "A='a #b'"),
            (" a", "A=' a'"),
            ("a ", "A='a '"),
            ("\"a\"", "A='\"a\"'"),
            ("one\ntwo $X\n", "A='one\ntwo $X\n'"),
            ("'a' \\ $X `", "A=\"'a' \\\\ \\$X \\`\""),
            ("it's\none\r\n\u{1b}", "A=\"it's\none\\r\n\\u{1b}\""),
            ("****", "A='****'"),
        ] {
            assert_eq!(line("A", value), text, "{value:?}");
            assert_eq!(one(text), value, "{value:?}");
        }
    }
}
