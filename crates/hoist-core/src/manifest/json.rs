//! JSON as the same tree that YAML becomes, every key and value with its line. Strict, but for `//` and `/* */` comments,
//! which `app.json` may have.

use super::tree::{Entry, Node, Value};
use super::{ManifestError, Place};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// Parses one JSON value.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, ManifestError> {
    let mut parser = Parser {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text).chars(),
        line: 1,
        column: 1,
    };
    let parsed = parser.value(0).and_then(|node| {
        parser.blanks()?;
        match parser.peek() {
            None => Ok(node),
            Some(_) => Err(parser.broken("there is more after the end")),
        }
    });
    parsed.map_err(|Broken { place, message }| ManifestError::Syntax {
        file: file.to_owned(),
        snippet: place.snippet(text),
        place,
        message,
    })
}

struct Broken {
    place: Place,
    message: String,
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    line: u32,
    column: u32,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    fn skip_two(&mut self) {
        self.next();
        self.next();
    }

    fn place(&self) -> Place {
        Place::At {
            line: self.line,
            column: self.column,
        }
    }

    fn broken(&self, message: impl Into<String>) -> Broken {
        Broken {
            place: self.place(),
            message: message.into(),
        }
    }

    fn expected(&self, what: &str) -> Broken {
        match self.peek() {
            Some(c) => self.broken(format!("expected {what}, not `{}`", c.escape_debug())),
            None => self.broken(format!("the file ends where {what} is expected")),
        }
    }

    /// Passes over white space and comments.
    fn blanks(&mut self) -> Result<(), Broken> {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r' | '\n') => drop(self.next()),
                Some('/') => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Broken> {
        if self.rest.as_str().starts_with("//") {
            while self.peek().is_some_and(|c| c != '\n') {
                self.next();
            }
            return Ok(());
        }
        if !self.rest.as_str().starts_with("/*") {
            return Err(self.expected("a value"));
        }
        let open = self.broken("a comment that is not closed");
        self.skip_two();
        while !self.rest.as_str().starts_with("*/") {
            if self.next().is_none() {
                return Err(open);
            }
        }
        self.skip_two();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        if depth > DEPTH_MAX {
            return Err(self.broken("nested too deeply"));
        }
        self.blanks()?;
        let place = self.place();
        let value = match self.peek() {
            Some('{') => Value::Map(self.map(depth)?),
            Some('[') => Value::List(self.list(depth)?),
            Some('"') => Value::Scalar(self.string()?),
            Some(c) if c == '-' || c.is_ascii_alphanumeric() => self.word()?,
            _ => return Err(self.expected("a value")),
        };
        Ok(Node { place, value })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        self.next();
        self.blanks()?;
        if self.peek() == Some('}') {
            self.next();
            return Ok(entries);
        }
        loop {
            self.blanks()?;
            let place = self.place();
            if self.peek() != Some('"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            if entries.iter().any(|entry| entry.key == key) {
                let message = format!("`{key}` stands here a second time");
                return Err(Broken { place, message });
            }
            self.blanks()?;
            if self.peek() != Some(':') {
                return Err(self.expected("`:`"));
            }
            self.next();
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, place, value });
            if self.ends('}')? {
                return Ok(entries);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Broken> {
        let mut items = Vec::new();
        self.next();
        self.blanks()?;
        if self.peek() == Some(']') {
            self.next();
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.ends(']')? {
                return Ok(items);
            }
        }
    }

    /// Passes over a comma or the closing bracket; true for the latter.
    fn ends(&mut self, close: char) -> Result<bool, Broken> {
        self.blanks()?;
        match self.peek() {
            Some(',') => drop(self.next()),
            Some(c) if c == close => {
                self.next();
                return Ok(true);
            }
            _ => return Err(self.expected(&format!("`,` or `{close}`"))),
        }
        Ok(false)
    }

    fn string(&mut self) -> Result<String, Broken> {
        let open = self.broken("a text that is not closed");
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => return Err(open),
                Some(c) if c.is_control() => return Err(self.broken("a control character")),
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Broken> {
        let bad = self.broken("no such escape");
        self.next();
        let escaped = match self.next() {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => self.code_point(),
            _ => None,
        };
        escaped.ok_or(bad)
    }

    /// One `XXXX`, or the two of a pair.
    fn code_point(&mut self) -> Option<char> {
        let high = self.unit()?;
        if !(0xd800..0xdc00).contains(&high) || !self.rest.as_str().starts_with("\\u") {
            return char::from_u32(high);
        }
        self.skip_two();
        let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit * 16 + self.next()?.to_digit(16)?))
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Value, Broken> {
        let start = self.broken("");
        let mut word = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))
        {
            self.next();
            word.push(c);
        }
        let digits = word.strip_prefix('-').unwrap_or(&word);
        let number =
            digits.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok();
        match word.as_str() {
            "null" => Ok(Value::Null),
            "true" | "false" => Ok(Value::Scalar(word)),
            _ if number => Ok(Value::Scalar(word)),
            _ => Err(Broken {
                message: format!("expected a value, not `{word}`"),
                ..start
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(shown).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(entries) => {
                let line = |entry: &Entry| entry.place.line().unwrap();
                let entry = |e: &Entry| format!("{}@{}={}", e.key, line(e), shown(&e.value));
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn values_keep_their_lines() {
        let text = "{ // app\n\t\"a\": [1, -2.5e3, true, null],\n /* no */ \"b\": {\"c\": \"\\u00e4\\ud83d\\ude00\\n\\/\"}\n}\n";
        assert_eq!(
            shown(&parse("x.json", text).unwrap()),
            "{a@2=[\"1\" \"-2.5e3\" \"true\" null] b@3={c@3=\"ä😀\\n/\"}}"
        );
        assert_eq!(shown(&parse("x.json", "{}").unwrap()), "{}");
    }

    #[test]
    fn what_is_broken_is_refused_at_its_place() {
        let deep = "[".repeat(100);
        let cases = [
            ("", "x.json:1:1: the file ends where a value is expected"),
            (
                "{\"a\": 1,}",
                "x.json:1:9: expected a key in double quotes, not `}`",
            ),
            ("{\n\"a\": }", "x.json:2:6: expected a value, not `}`"),
            (
                "{\"a\": 1",
                "x.json:1:8: the file ends where `,` or `}` is expected",
            ),
            ("{a: 1}", "x.json:1:2: expected a key in double quotes"),
            ("{\"a\": yes}", "x.json:1:7: expected a value, not `yes`"),
            ("[\"a]", "x.json:1:2: a text that is not closed"),
            ("[\"\\x\"]", "x.json:1:3: no such escape"),
            ("[\"\\ud800\"]", "x.json:1:3: no such escape"),
            ("/* a", "x.json:1:1: a comment that is not closed"),
            ("1 2", "x.json:1:3: there is more after the end"),
            (
                "{\"a\": 1,\n\"a\": 2}",
                "x.json:2:1: `a` stands here a second time",
            ),
            (deep.as_str(), "x.json:1:66: nested too deeply"),
        ];
        for (text, expected) in cases {
            let error = parse("x.json", text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
