//! The user's terminal: whether there is one, its size, and its raw mode.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use clap::Args;
use hoist_api::types::{Terminal, TerminalSize};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::environment::Environment;
use crate::error::CliError;

#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct TerminalArgs {
    /// Give it a terminal [default when input and output are one]
    #[arg(short = 't', long = "tty")]
    on: bool,
    /// Give it no terminal
    #[arg(short = 'T', long = "no-tty", conflicts_with = "on")]
    off: bool,
}

impl TerminalArgs {
    /// The terminal that the process gets.
    pub(crate) fn terminal(self, environment: &Environment) -> Option<Terminal> {
        let both = environment.stdin_terminal && environment.stdout_terminal;
        let wanted = self.on || both && !self.off;
        wanted.then(|| Terminal {
            size: size(),
            term: environment.term.clone(),
        })
    }
}

/// The size of the terminal; zeros where there is none or it does not say.
pub(super) fn size() -> TerminalSize {
    let of = |size: Option<(terminal_size::Width, terminal_size::Height)>| {
        let (columns, rows) = size?;
        Some(TerminalSize {
            columns: columns.0,
            rows: rows.0,
        })
    };
    let size = of(terminal_size::terminal_size_of(io::stdout()));
    size.or_else(|| of(terminal_size::terminal_size_of(io::stdin())))
        .unwrap_or_default()
}

/// A terminal in raw mode: every key goes to the process. Gives it back as it was when dropped, also by a panic.
pub(super) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

/// Takes the terminal that standard input is, when that is wanted.
pub(super) fn raw(wanted: bool) -> Result<Option<Raw>, CliError> {
    let take = || {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
        Ok(Raw { terminal, before })
    };
    wanted
        .then(take)
        .transpose()
        .map_err(|source| CliError::io("take the terminal", source))
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
