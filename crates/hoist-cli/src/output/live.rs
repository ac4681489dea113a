//! Lines at the bottom of a terminal that are drawn again in place, while what is printed scrolls above them.
//!
//! The one thing to know: everything that goes to the terminal while a block stands must go through the same
//! [`Output`](super::Output), which takes the block away, prints, and puts it back in a single write. Nothing of the
//! terminal is changed (no raw mode, no hidden cursor), so nothing has to be restored when a program ends in the middle.

use unicode_width::UnicodeWidthStr;

use super::table::{Cell, cut};

/// The terminal's columns and rows, asked at each drawing because a user may resize it.
pub type TerminalSize = fn() -> Option<(usize, usize)>;

/// What is taken when the terminal does not say, as one of 0×0.
const SIZE: (usize, usize) = (80, 24);
/// Begins and ends a change that terminals show at once; those that do not know it ignore it.
pub(super) const HOLD: &str = "\x1b[?2026h";
pub(super) const RELEASE: &str = "\x1b[?2026l";
/// Clears from the cursor to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears from the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";

/// One line of a block: texts with their colours, one after another.
pub(crate) type Line = Vec<Cell>;

/// A block and how much of the screen it takes.
pub(crate) struct Live {
    size: Option<TerminalSize>,
    colour: bool,
    lines: Vec<Line>,
    /// The columns that each line took when it was drawn; empty when nothing is on the screen.
    drawn: Vec<usize>,
}

impl Live {
    /// Without a size nothing is ever drawn: it is no terminal, or one that cannot move its cursor.
    pub(crate) fn new(size: Option<TerminalSize>, colour: bool) -> Self {
        Self {
            size,
            colour,
            lines: Vec::new(),
            drawn: Vec::new(),
        }
    }

    /// Whether anything can be drawn.
    pub(crate) fn able(&self) -> bool {
        self.size.is_some()
    }

    /// Whether there is a block, on the screen or about to be.
    pub(crate) fn stands(&self) -> bool {
        !self.lines.is_empty()
    }

    /// What the block says from now on; drawn by the next [`Live::around`].
    pub(crate) fn set(&mut self, lines: Vec<Line>) {
        if self.able() {
            self.lines = lines;
        }
    }

    /// The block's lines, without which it ends; [`Live::set`] puts them back.
    pub(crate) fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// Ends the block; the next [`Live::around`] takes it from the screen.
    pub(crate) fn end(&mut self) {
        self.lines.clear();
    }

    /// The bytes that take the block from the screen, print `text` (whole lines, or nothing) and put the block below it.
    pub(crate) fn around(&mut self, text: &str) -> String {
        let (columns, rows) = self.terminal();
        if self.drawn.is_empty() && self.lines.is_empty() {
            return text.to_owned();
        }
        let mut bytes = String::from(HOLD);
        let up = self.rows_on_screen(columns);
        bytes.push('\r');
        if up > 0 {
            bytes.push_str(&format!("\x1b[{up}A"));
        }
        if !text.is_empty() {
            bytes.push_str(CLEAR_BELOW);
            bytes.push_str(text);
        }
        self.drawn.clear();
        // One row stays free for the cursor below the block.
        let fitting = self.lines.iter().take(rows.saturating_sub(1).max(1));
        for line in fitting {
            let (line, width) = fit(line, columns.saturating_sub(1), self.colour);
            bytes.push_str(&line);
            bytes.push_str(CLEAR_LINE);
            bytes.push('\n');
            self.drawn.push(width);
        }
        bytes.push_str(CLEAR_BELOW);
        bytes.push_str(RELEASE);
        bytes
    }

    /// The terminal's columns and rows, or usual ones.
    pub(super) fn terminal(&self) -> (usize, usize) {
        let size = self.size.and_then(|size| size());
        size.filter(|(columns, rows)| *columns > 1 && *rows > 1)
            .unwrap_or(SIZE)
    }

    /// The rows that the block takes now: a terminal made narrower since has wrapped its lines.
    fn rows_on_screen(&self, columns: usize) -> usize {
        self.drawn
            .iter()
            .map(|width| width.div_ceil(columns).max(1))
            .sum()
    }
}

/// The line cut to `max` columns, and the columns it takes.
fn fit(line: &[Cell], max: usize, colour: bool) -> (String, usize) {
    let (mut text, mut used) = (String::new(), 0);
    for cell in line {
        let shown = cut(cell.text(), max.saturating_sub(used));
        used += shown.width();
        text.push_str(&cell.painted(&shown, colour));
        if shown != cell.text() {
            break;
        }
    }
    (text, used)
}

#[cfg(test)]
mod tests {
    use super::super::Colour;
    use super::*;

    fn live(size: TerminalSize) -> Live {
        Live::new(Some(size), false)
    }

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts.iter().map(|text| vec![Cell::from(text)]).collect()
    }

    #[test]
    fn without_a_terminal_text_is_all_there_is() {
        let mut live = Live::new(None, true);
        live.set(lines(&["web 0/1"]));
        assert!(!live.stands());
        assert_eq!(live.around("a line\n"), "a line\n");
    }

    #[test]
    fn a_block_is_drawn_moved_below_what_is_printed_and_taken_away() {
        let mut live = live(|| Some((20, 10)));
        live.set(lines(&["one", "two"]));
        assert_eq!(
            live.around(""),
            "\x1b[?2026h\rone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?2026l"
        );
        assert_eq!(
            live.around("event\n"),
            "\x1b[?2026h\r\x1b[2A\x1b[Jevent\none\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?2026l"
        );
        live.end();
        assert_eq!(live.around(""), "\x1b[?2026h\r\x1b[2A\x1b[J\x1b[?2026l");
        assert_eq!(live.around("after\n"), "after\n");
    }

    #[test]
    fn lines_are_cut_one_column_before_the_edge() {
        let mut live = live(|| Some((8, 10)));
        live.set(lines(&["0123456789", "日本語日本"]));
        let drawn = live.around("");
        assert!(
            drawn.contains("\r012345…\x1b[K\n日本語…\x1b[K\n"),
            "{drawn:?}"
        );
    }

    #[test]
    fn a_narrower_terminal_has_wrapped_what_was_drawn() {
        let mut live = live(|| Some((20, 10)));
        live.set(lines(&["0123456789", "short"]));
        live.around("");
        live.size = Some(|| Some((6, 10)));
        assert!(live.around("").starts_with("\x1b[?2026h\r\x1b[3A"));
    }

    #[test]
    fn a_block_is_never_higher_than_the_terminal_and_zero_is_no_size() {
        let mut live = live(|| Some((20, 3)));
        live.set(lines(&["1", "2", "3", "4"]));
        assert_eq!(live.around("").matches('\n').count(), 2);
        live.size = Some(|| Some((0, 0)));
        assert_eq!(live.around("").matches('\n').count(), 4);
    }

    #[test]
    fn colours_do_not_count() {
        let line = vec![Cell::from("web "), Cell::coloured("failed", Colour::Bad)];
        assert_eq!(
            fit(&line, 8, true),
            ("web \x1b[31mfai…\x1b[0m".to_owned(), 8)
        );
    }
}
