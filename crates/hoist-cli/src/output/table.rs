//! Aligned columns that fit the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Colour;

/// The space between columns.
const GAP: usize = 2;
/// A column keeps at least so much, or its header, however narrow the terminal.
const COLUMN_MIN: usize = 8;
/// Columns that are never cut: what stands there is typed again, or is one word.
const WHOLE: [&str; 8] = [
    "ID", "NUMBER", "RELEASE", "BUILD", "STATUS", "OUTCOME", "STATE", "URL",
];

/// Last columns that go on below rather than being cut: what stands there was asked for.
const WRAPPED: [&str; 1] = ["DETAIL"];

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl<T: AsRef<str>> From<T> for Cell {
    /// Control characters would move the cursor: they show as spaces.
    fn from(text: T) -> Self {
        let text = text
            .as_ref()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self { text, colour: None }
    }
}

impl Cell {
    /// A word of the glossary, in its colour.
    pub(crate) fn word(word: &str) -> Self {
        Self {
            colour: Colour::of(word),
            ..Self::from(word)
        }
    }

    /// A text in a colour, which never says more than the text does.
    pub(crate) fn coloured(text: impl AsRef<str>, colour: Colour) -> Self {
        Self {
            colour: Some(colour),
            ..Self::from(text)
        }
    }

    /// What it says.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `shown`, which is its text or the beginning of it, in its colour.
    pub(super) fn painted(&self, shown: &str, colour: bool) -> String {
        match self.colour {
            Some(paint) if colour && !shown.is_empty() => paint.paint(shown),
            _ => shown.to_owned(),
        }
    }
}

/// Rows of cells; all columns but the last are as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    /// The first row is a header.
    header: bool,
}

impl Table {
    /// A list with a header.
    pub(crate) fn list<const N: usize>(
        header: [&str; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> Self {
        let header = header
            .iter()
            .map(|name| Cell {
                colour: Some(Colour::Faint),
                ..Cell::from(name)
            })
            .collect();
        let rows = rows.into_iter().map(Vec::from);
        Self {
            rows: std::iter::once(header).chain(rows).collect(),
            header: true,
        }
    }

    /// Names and values of one thing. Fields without a value are left out.
    pub(crate) fn fields<'n>(fields: impl IntoIterator<Item = (&'n str, Option<Cell>)>) -> Self {
        let row = |(name, value): (&str, Option<Cell>)| Some(vec![Cell::from(name), value?]);
        Self {
            rows: fields.into_iter().filter_map(row).collect(),
            header: false,
        }
    }

    /// More rows.
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = Vec<Cell>>) {
        self.rows.extend(rows);
    }

    /// The text. On a terminal the widest column is cut until the table fits, and a list that cannot fit becomes a block
    /// per row; without a terminal nothing is cut, so that what a script reads is whole.
    pub(crate) fn render(&self, columns: Option<usize>, colour: bool) -> String {
        let mut widths = self.widths();
        match columns {
            Some(columns) if self.header && !self.narrow(&mut widths, columns) => {
                self.blocks(colour)
            }
            _ => self.rows(&widths, colour),
        }
    }

    /// The columns that each column takes.
    fn widths(&self) -> Vec<usize> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.text.width())
                .max()
                .unwrap_or_default()
        };
        (0..count).map(width).collect()
    }

    /// Makes the widest columns narrower until all of them fit. Says whether they do.
    fn narrow(&self, widths: &mut [usize], columns: usize) -> bool {
        let Some(header) = self.rows.first() else {
            return true;
        };
        let floor = |column: usize, width: usize| match header.get(column) {
            Some(name) if WHOLE.contains(&name.text.as_str()) => width,
            Some(name) => name.text.width().max(COLUMN_MIN),
            None => COLUMN_MIN,
        };
        let floors: Vec<_> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| floor(column, *width))
            .collect();
        loop {
            let all = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            if all <= columns {
                return true;
            }
            let widest = (0..widths.len())
                .filter(|column| widths[*column] > floors[*column])
                .max_by_key(|column| widths[*column]);
            match widest {
                Some(column) => widths[column] -= 1,
                None => return false,
            }
        }
    }

    fn rows(&self, widths: &[usize], colour: bool) -> String {
        let mut text = String::new();
        let last = self.rows.first().and_then(|header| header.last());
        let wraps = self.header && last.is_some_and(|name| WRAPPED.contains(&name.text.as_str()));
        let before = widths.split_last().map_or(0, |(_, before)| {
            before.iter().map(|width| width + GAP).sum()
        });
        for row in &self.rows {
            let mut line = String::new();
            let mut below = Vec::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let shown = if wraps && column + 1 == widths.len() {
                    below = wrap(&cell.text, *width);
                    below.remove(0)
                } else if self.header {
                    cut(&cell.text, *width)
                } else {
                    cell.text.clone()
                };
                line.push_str(&cell.painted(&shown, colour));
                line.push_str(&" ".repeat((width + GAP).saturating_sub(shown.width())));
            }
            text.push_str(line.trim_end());
            text.push('\n');
            for line in below {
                text.push_str(&" ".repeat(before));
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    /// Every row as names and values, for terminals too narrow for columns.
    fn blocks(&self, colour: bool) -> String {
        let Some((header, rows)) = self.rows.split_first() else {
            return String::new();
        };
        let blocks = rows.iter().map(|row| {
            let named = header
                .iter()
                .zip(row)
                .filter(|(_, cell)| !cell.text.is_empty());
            let fields = Self {
                rows: named
                    .map(|(name, cell)| vec![name.clone(), cell.clone()])
                    .collect(),
                header: false,
            };
            fields.rows(&fields.widths(), colour)
        });
        blocks.collect::<Vec<_>>().join("\n")
    }
}

/// The text, cut to `max` columns with an ellipsis.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.width() <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used >= max {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// The text in lines of at most `max` columns, at least one; a word that is longer is broken.
fn wrap(text: &str, max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut used = lines.last().map_or(0, |line| line.width());
        if used > 0 && used + 1 + word.width() > max {
            lines.push(String::new());
            used = 0;
        }
        for c in (used > 0).then_some(' ').into_iter().chain(word.chars()) {
            let width = c.width().unwrap_or_default();
            if used > 0 && used + width > max {
                lines.push(String::new());
                used = 0;
            }
            used += width;
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_go_on_below_on_a_terminal() {
        let rows = [
            [
                "router".into(),
                "process 7 serves table 3 on 127.0.0.1:80".into(),
            ],
            ["log".into(), "a-word-of-more-than-twenty-columns".into()],
            ["one".into(), "short".into()],
        ];
        let table = Table::list(["NAME", "DETAIL"], rows);
        let shown = table.render(Some(28), false);
        let expected = "\
NAME    DETAIL
router  process 7 serves
        table 3 on
        127.0.0.1:80
log     a-word-of-more-than-
        twenty-columns
one     short
";
        assert_eq!(shown, expected);
        assert_eq!(table.render(None, false).lines().count(), 4);
    }

    fn releases() -> Table {
        Table::list(
            ["ID", "STATUS", "DESCRIPTION"],
            [
                [
                    "RAAAAAAAAAA".into(),
                    Cell::word("active"),
                    "build 7329df90c1 this is my\ncommit message".into(),
                ],
                ["RBBBBBBBBBB".into(), Cell::from(""), "env add:FOO".into()],
            ],
        )
    }

    #[test]
    fn columns_align_and_nothing_is_cut_for_scripts() {
        let expected = "\
ID           STATUS  DESCRIPTION
RAAAAAAAAAA  active  build 7329df90c1 this is my commit message
RBBBBBBBBBB          env add:FOO
";
        assert_eq!(releases().render(None, false), expected);
    }

    #[test]
    fn the_widest_column_is_cut_until_the_table_fits() {
        let text = releases().render(Some(40), false);
        assert!(
            text.contains("RAAAAAAAAAA  active  build 7329df90c1 t…\n"),
            "{text}"
        );
        let name = "a-name-that-somebody-made-long";
        let table = Table::list(
            ["NAME", "STATUS", "TEXT"],
            [[name.into(), "ready".into(), "short".into()]],
        );
        assert_eq!(
            table.render(Some(30), false),
            "NAME             STATUS  TEXT\na-name-that-so…  ready   short\n"
        );
    }

    #[test]
    fn what_cannot_fit_is_a_block_per_row() {
        let expected = "\
ID           RAAAAAAAAAA
STATUS       active
DESCRIPTION  build 7329df90c1 this is my commit message

ID           RBBBBBBBBBB
DESCRIPTION  env add:FOO
";
        assert_eq!(releases().render(Some(20), false), expected);
    }

    #[test]
    fn colour_adds_nothing_but_escapes() {
        let painted = releases().render(None, true);
        assert!(
            painted.contains("\x1b[32mactive\x1b[0m  build"),
            "{painted:?}"
        );
        let mut bare = painted;
        for escape in ["\x1b[32m", "\x1b[2m", "\x1b[0m"] {
            bare = bare.replace(escape, "");
        }
        assert_eq!(bare, releases().render(None, false));
    }

    #[test]
    fn wide_characters_count_as_two() {
        let table = Table::list(
            ["NAME", "X"],
            [["日本".into(), "1".into()], ["a".into(), "2".into()]],
        );
        assert_eq!(table.render(None, false), "NAME  X\n日本  1\na     2\n");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn fields_leave_out_what_there_is_not() {
        let table = Table::fields([
            ("Id", Some("R".into())),
            ("Parent", None),
            ("Description", Some("x".into())),
        ]);
        assert_eq!(
            table.render(Some(5), false),
            "Id           R\nDescription  x\n"
        );
    }
}
