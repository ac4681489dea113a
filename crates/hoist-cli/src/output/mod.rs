//! The only place that prints: data on standard output, everything else on standard error.

mod live;
mod progress;
mod promotion;
mod status;
mod table;
mod time;

use std::io::Write;

use hoist_api::types::List;
use serde::Serialize;

pub(crate) use live::Line;
pub use live::TerminalSize;
pub(crate) use progress::{bytes, how_far};
pub(crate) use promotion::{Subject, event_line, log_line, not_live, phases};
pub(crate) use status::{build_block, promotion_block};
pub(crate) use table::{Cell, Table};
pub(crate) use time::{ago, short};

use crate::environment::Environment;
use crate::error::CliError;
use live::Live;

/// Colours, always beside a word that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Busy,
    Bad,
    Faint,
}

impl Colour {
    /// `text` between the escapes of this colour.
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Good => 32,
            Self::Busy => 33,
            Self::Bad => 31,
            Self::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The colour of a word of the glossary.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word {
            "active" | "running" | "ready" | "succeeded" | "complete" | "ok" => Some(Self::Good),
            "updating" | "promoting" | "starting" | "draining" | "warm" | "stopping" | "warn" => {
                Some(Self::Busy)
            }
            "rolling-back" | "rolled-back" | "failed" | "degraded" | "crashed" | "unready"
            | "bad" => Some(Self::Bad),
            "stopped" | "superseded" | "cancelled" | "exited" | "created" => Some(Self::Faint),
            _ => None,
        }
    }
}

/// Where to print, and how.
pub(crate) struct Output<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    json: bool,
    colour_out: bool,
    colour_err: bool,
    columns: Option<usize>,
    /// Standard error is a terminal: somebody reads what is said aside.
    terminal: bool,
    /// A step that was announced on standard error and whose line has no end yet.
    step: Option<Step>,
    /// What is drawn in place below everything that is printed.
    live: Live,
}

/// A step whose line has no end yet.
struct Step {
    text: String,
    /// It stands on the screen as a line of its own; false while [`Output::progress`] draws it.
    printed: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(
        stdout: &'a mut dyn Write,
        stderr: &'a mut dyn Write,
        environment: &Environment,
        json: bool,
    ) -> Self {
        let colour = |terminal: bool| environment.colour_forced || terminal && !environment.plain;
        let colour_err = colour(environment.stderr_terminal);
        Self {
            stdout,
            stderr,
            json,
            colour_out: colour(environment.stdout_terminal) && !json,
            colour_err,
            columns: environment.columns,
            terminal: environment.stderr_terminal,
            step: None,
            live: Live::new(environment.stderr_size, colour_err),
        }
    }

    /// Whether data is asked for as JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// One line of data.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.print_data(&format!("{text}\n"))
    }

    /// Data that is no text, as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.stdout.write_all(bytes).map_err(CliError::Output)
    }

    /// Data as JSON: indented for what is read as a whole, on one line for items of a stream.
    pub(crate) fn print_json(&mut self, data: &impl Serialize) -> Result<(), CliError> {
        let text =
            serde_json::to_string_pretty(data).map_err(|error| CliError::Output(error.into()))?;
        self.line(&text)
    }

    /// One item of a stream as JSON.
    pub(crate) fn print_json_line(&mut self, data: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(data).map_err(|error| CliError::Output(error.into()))?;
        self.line(&text)
    }

    /// Data: as JSON when that is asked for, else as `text` makes it.
    pub(crate) fn data<T: Serialize>(
        &mut self,
        data: &T,
        text: impl FnOnce(&T) -> Table,
    ) -> Result<(), CliError> {
        if self.json {
            self.print_json(data)
        } else {
            self.table(&text(data))
        }
    }

    /// A list, and how to see the rest of it.
    pub(crate) fn list<T: Serialize>(
        &mut self,
        list: &List<T>,
        text: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), CliError> {
        self.data(list, |list| text(&list.items))?;
        match &list.next {
            Some(next) if !self.json && self.terminal => {
                self.note(&format!("more with `--before {next}`"))
            }
            _ => Ok(()),
        }
    }

    /// A table or block of fields.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), CliError> {
        let text = table.render(self.columns, self.colour_out);
        self.print_data(&text)
    }

    /// Whether a table can take the place of another one.
    pub(crate) fn redraws(&self) -> bool {
        !self.json && self.columns.is_some() && self.live.able()
    }

    /// A table that takes the place of the one before on a terminal, as far as the terminal is high, and stands below it
    /// elsewhere. `above` are the rows of the one before; answers those of this one.
    pub(crate) fn table_again(&mut self, table: &Table, above: usize) -> Result<usize, CliError> {
        if !self.redraws() {
            if above > 0 {
                self.line("")?;
            }
            self.table(table)?;
            return Ok(1);
        }
        let (columns, rows) = self.live.terminal();
        let text = table.render(Some(columns), self.colour_out);
        let lines: Vec<_> = text.lines().take(rows.saturating_sub(1).max(1)).collect();
        let mut bytes = String::from(live::HOLD);
        if above > 0 {
            bytes.push_str(&format!("\r\x1b[{above}A\x1b[J"));
        }
        for line in &lines {
            bytes.push_str(line);
            bytes.push('\n');
        }
        bytes.push_str(live::RELEASE);
        self.print_data(&bytes)?;
        Ok(lines.len())
    }

    /// Lines of data. What is drawn in place makes room for them, wherever they go.
    fn print_data(&mut self, text: &str) -> Result<(), CliError> {
        self.end_step()?;
        let standing = self.live.stands();
        let lines = self.live.take();
        self.say("")?;
        let printed = self.stdout.write_all(text.as_bytes());
        if !standing {
            return printed.map_err(CliError::Output);
        }
        printed
            .and_then(|()| self.stdout.flush())
            .map_err(CliError::Output)?;
        self.live.set(lines);
        self.say("")
    }

    /// A line of data with its label, as `Release: R…`.
    pub(crate) fn label(&mut self, label: &str, value: &str) -> Result<(), CliError> {
        self.line(&format!("{:<8} {value}", format!("{label}:")))
    }

    /// One line that is not data.
    pub(crate) fn chatter(&mut self, text: &str) -> Result<(), CliError> {
        self.say(&format!("{text}\n"))
    }

    /// A line aside.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), CliError> {
        let text = if self.colour_err {
            Colour::Faint.paint(text)
        } else {
            text.to_owned()
        };
        self.chatter(&text)
    }

    /// Something that a user should know or mend.
    pub(crate) fn warn(&mut self, text: &str) -> Result<(), CliError> {
        let word = if self.colour_err {
            Colour::Busy.paint("WARNING:")
        } else {
            "WARNING:".to_owned()
        };
        self.chatter(&format!("{word} {text}"))
    }

    /// Why it did not work, and what helps.
    pub(crate) fn error(&mut self, text: &str, hint: Option<&str>) -> Result<(), CliError> {
        let word = if self.colour_err {
            Colour::Bad.paint("ERROR:")
        } else {
            "ERROR:".to_owned()
        };
        self.chatter(&format!("{word} {text}"))?;
        hint.map_or(Ok(()), |hint| self.chatter(&format!("hint: {hint}")))
    }

    /// Announces a step: `Packaging source... `. Its line ends with [`Output::done`], or when anything else is printed.
    pub(crate) fn begin(&mut self, step: &str) -> Result<(), CliError> {
        self.live.end();
        self.say("")?;
        self.step = Some(Step {
            text: step.to_owned(),
            printed: true,
        });
        self.write(&format!("{step}... "))
    }

    /// Asks something; what is typed ends the line, unless something else is printed before.
    pub(crate) fn ask(&mut self, question: &str) -> Result<(), CliError> {
        // The terminal shows Ctrl-C where the cursor is.
        let cleared = if self.live.able() { "\r\x1b[K" } else { "\n" };
        self.clear()?;
        self.step = Some(Step {
            text: question.to_owned(),
            printed: true,
        });
        self.write(&format!("{cleared}{question} "))
    }

    /// What was asked is answered: its line has ended.
    pub(crate) fn answered(&mut self) {
        self.step = None;
    }

    /// How far the step is that was begun: `Uploading source... 12 MB of 40 MB`, drawn in place. Does nothing where
    /// nothing can be drawn.
    pub(crate) fn progress(&mut self, text: &str) -> Result<(), CliError> {
        let Some(step) = self.step.as_mut().filter(|_| self.live.able()) else {
            return Ok(());
        };
        // The block takes the place of the step's own line.
        let cleared = if std::mem::take(&mut step.printed) {
            "\r\x1b[K"
        } else {
            ""
        };
        let line = vec![Cell::from(format!("{}... {text}", step.text))];
        self.live.set(vec![line]);
        let bytes = format!("{cleared}{}", self.live.around(""));
        self.write(&bytes)
    }

    /// Ends a step: `OK`.
    pub(crate) fn done(&mut self, result: &str) -> Result<(), CliError> {
        self.live.end();
        let painted = match result.split_once(' ') {
            _ if !self.colour_err => result.to_owned(),
            Some(("OK", rest)) => format!("{} {rest}", Colour::Good.paint("OK")),
            _ if result == "OK" => Colour::Good.paint(result),
            _ => Colour::Bad.paint(result),
        };
        let step = match self.step.take() {
            Some(step) if !step.printed => format!("{}... ", step.text),
            _ => String::new(),
        };
        let bytes = self.live.around(&format!("{step}{painted}\n"));
        self.write(&bytes)
    }

    /// Whether standard error is a terminal on which lines can be drawn in place.
    pub(crate) fn draws(&self) -> bool {
        self.live.able()
    }

    /// Lines that stay below everything that is printed until others take their place, or [`Output::clear`]. Does
    /// nothing where nothing can be drawn.
    pub(crate) fn show(&mut self, lines: Vec<Line>) -> Result<(), CliError> {
        if !self.live.able() {
            return Ok(());
        }
        self.end_step()?;
        self.live.set(lines);
        self.say("")
    }

    /// Takes away what [`Output::show`] or [`Output::progress`] drew.
    pub(crate) fn clear(&mut self) -> Result<(), CliError> {
        self.live.end();
        self.say("")
    }

    /// Ends the line of an open step, prints lines on standard error, and puts what is drawn below them.
    fn say(&mut self, text: &str) -> Result<(), CliError> {
        self.end_step()?;
        let bytes = self.live.around(text);
        self.write(&bytes)
    }

    /// One write, so that nothing flickers.
    fn write(&mut self, bytes: &str) -> Result<(), CliError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.stderr
            .write_all(bytes.as_bytes())
            .and_then(|()| self.stderr.flush())
            .map_err(CliError::Output)
    }

    fn end_step(&mut self) -> Result<(), CliError> {
        match self.step.take() {
            None => Ok(()),
            Some(step) if step.printed => self.write("\n"),
            Some(step) => {
                self.live.end();
                let bytes = self.live.around(&format!("{}...\n", step.text));
                self.write(&bytes)
            }
        }
    }

    /// Hands on what is still held back.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.stdout
            .flush()
            .and_then(|()| self.stderr.flush())
            .map_err(CliError::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What standard error gets from a terminal of 40×10, or without one.
    fn printed(
        terminal: bool,
        act: impl FnOnce(&mut Output<'_>) -> Result<(), CliError>,
    ) -> String {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let environment = Environment {
            stderr_size: terminal.then_some((|| Some((40, 10))) as TerminalSize),
            ..Environment::default()
        };
        act(&mut Output::new(
            &mut stdout,
            &mut stderr,
            &environment,
            false,
        ))
        .expect("printed");
        let text = String::from_utf8(stderr).expect("text");
        text.replace("\x1b[?2026h", "").replace("\x1b[?2026l", "")
    }

    #[test]
    fn progress_takes_the_place_of_its_step_and_the_end_of_progress() {
        let act = |out: &mut Output<'_>| {
            out.begin("Uploading")?;
            out.progress("1 MB of 2 MB")?;
            out.done("OK")?;
            out.chatter("next")
        };
        assert_eq!(printed(false, act), "Uploading... OK\nnext\n");
        assert_eq!(
            printed(true, act),
            "Uploading... \r\x1b[K\rUploading... 1 MB of 2 MB\x1b[K\n\x1b[J\
             \r\x1b[1A\x1b[JUploading... OK\n\x1b[Jnext\n"
        );
    }

    #[test]
    fn a_step_that_something_interrupts_stays_as_a_line() {
        let act = |out: &mut Output<'_>| {
            out.begin("Uploading")?;
            out.progress("1 MB")?;
            out.error("no", None)
        };
        assert_eq!(printed(false, act), "Uploading... \nERROR: no\n");
        assert!(
            printed(true, act).ends_with("\r\x1b[1A\x1b[JUploading...\n\x1b[JERROR: no\n"),
            "{:?}",
            printed(true, act)
        );
    }

    #[test]
    fn a_table_takes_the_place_of_the_one_before_on_a_terminal_alone() {
        let shown = |terminal: bool| {
            let environment = Environment {
                columns: terminal.then_some(40),
                stderr_size: terminal.then_some((|| Some((40, 3))) as TerminalSize),
                ..Environment::default()
            };
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut out = Output::new(&mut stdout, &mut stderr, &environment, false);
            let table = Table::list(["ID"], [["R1".into()], ["R2".into()], ["R3".into()]]);
            let above = out.table_again(&table, 0).expect("printed");
            out.table_again(&table, above).expect("printed");
            let text = String::from_utf8(stdout).expect("text");
            text.replace(live::HOLD, "").replace(live::RELEASE, "")
        };
        assert_eq!(shown(false), "ID\nR1\nR2\nR3\n\nID\nR1\nR2\nR3\n");
        assert_eq!(shown(true), "ID\nR1\n\r\x1b[2A\x1b[JID\nR1\n");
    }

    #[test]
    fn colour_is_for_terminals_unless_it_is_forced_or_forbidden() {
        let colours = |terminal, plain, colour_forced| {
            let environment = Environment {
                stdout_terminal: terminal,
                plain,
                colour_forced,
                ..Environment::default()
            };
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            Output::new(&mut stdout, &mut stderr, &environment, false).colour_out
        };
        assert!(colours(true, false, false));
        assert!(!colours(true, true, false));
        assert!(!colours(false, false, false));
        assert!(colours(false, false, true));
    }
}
