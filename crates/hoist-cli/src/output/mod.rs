//! The only place that prints: data on standard output, everything else on standard error.

mod promotion;
mod table;
mod time;

use std::io::Write;

use hoist_api::types::List;
use serde::Serialize;

pub(crate) use promotion::{Subject, event_line, log_line, not_live, phases};
pub(crate) use table::{Cell, Table};
pub(crate) use time::{ago, short};

use crate::environment::Environment;
use crate::error::CliError;

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
    /// A step was announced on standard error and its line has no end yet.
    step_open: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(
        stdout: &'a mut dyn Write,
        stderr: &'a mut dyn Write,
        environment: &Environment,
        json: bool,
    ) -> Self {
        Self {
            stdout,
            stderr,
            json,
            colour_out: environment.stdout_terminal && !environment.plain && !json,
            colour_err: environment.stderr_terminal && !environment.plain,
            columns: environment.columns,
            step_open: false,
        }
    }

    /// Whether data is asked for as JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// One line of data.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.end_step()?;
        writeln!(self.stdout, "{text}").map_err(CliError::Output)
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
            Some(next) if !self.json && self.colour_err => {
                self.note(&format!("more with `--before {next}`"))
            }
            _ => Ok(()),
        }
    }

    /// A table or block of fields.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), CliError> {
        let text = table.render(self.columns, self.colour_out);
        self.end_step()?;
        self.stdout
            .write_all(text.as_bytes())
            .map_err(CliError::Output)
    }

    /// A line of data with its label, as `Release: R…`.
    pub(crate) fn label(&mut self, label: &str, value: &str) -> Result<(), CliError> {
        self.line(&format!("{:<8} {value}", format!("{label}:")))
    }

    /// One line that is not data.
    pub(crate) fn chatter(&mut self, text: &str) -> Result<(), CliError> {
        self.end_step()?;
        writeln!(self.stderr, "{text}").map_err(CliError::Output)
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
        self.end_step()?;
        self.step_open = true;
        write!(self.stderr, "{step}... ")
            .and_then(|()| self.stderr.flush())
            .map_err(CliError::Output)
    }

    /// Ends a step: `OK`.
    pub(crate) fn done(&mut self, result: &str) -> Result<(), CliError> {
        self.step_open = false;
        let painted = match result.split_once(' ') {
            _ if !self.colour_err => result.to_owned(),
            Some(("OK", rest)) => format!("{} {rest}", Colour::Good.paint("OK")),
            _ if result == "OK" => Colour::Good.paint(result),
            _ => Colour::Bad.paint(result),
        };
        writeln!(self.stderr, "{painted}").map_err(CliError::Output)
    }

    fn end_step(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.step_open) {
            writeln!(self.stderr).map_err(CliError::Output)?;
        }
        Ok(())
    }

    /// Hands on what is still held back.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.stdout
            .flush()
            .and_then(|()| self.stderr.flush())
            .map_err(CliError::Output)
    }
}
