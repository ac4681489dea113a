//! Aligned columns that fit the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Colour;

/// The space between columns.
const GAP: usize = 2;
/// The last column gets at least so much, however narrow the terminal.
const LAST_MIN: usize = 8;

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

    /// The text. The last column is cut where the terminal ends; without a terminal nothing is cut, so that what a
    /// script reads is whole.
    pub(crate) fn render(&self, columns: Option<usize>, colour: bool) -> String {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.width())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<_> = (0..count).map(width).collect();
        let before_last: usize = widths
            .iter()
            .take(count.saturating_sub(1))
            .map(|width| width + GAP)
            .sum();
        let last_max = columns
            .filter(|_| self.header)
            .map(|all| all.saturating_sub(before_last).max(LAST_MIN));
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let is_last = column + 1 == count;
                let shown = match last_max {
                    Some(max) if is_last => cut(&cell.text, max),
                    _ => cell.text.clone(),
                };
                let padding = if is_last {
                    0
                } else {
                    widths[column] + GAP - shown.width()
                };
                match cell.colour {
                    Some(paint) if colour && !shown.is_empty() => {
                        line.push_str(&paint.paint(&shown))
                    }
                    _ => line.push_str(&shown),
                }
                line.push_str(&" ".repeat(padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text, cut to `max` columns with an ellipsis.
fn cut(text: &str, max: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_last_column_ends_with_the_terminal() {
        let text = releases().render(Some(40), false);
        assert!(
            text.contains("RAAAAAAAAAA  active  build 7329df90c1 t…\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert!(releases().render(Some(5), false).contains("build 7…\n"));
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
