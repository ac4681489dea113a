//! What the command line takes from its surroundings: every variable it reads is named here, and read only here.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

pub use crate::output::TerminalSize;
use crate::starter::Passphrase;

/// The rack to talk to, as `--rack` names it: a URL as [`HOIST_URL`], or a data directory as [`HOIST_DATA_DIR`].
pub const HOIST_RACK: &str = "HOIST_RACK";
/// `http://:TOKEN@host:port`: the rack to talk to, instead of the one of the data directory.
pub const HOIST_URL: &str = "HOIST_URL";
/// The data directory, when `--data-dir` is not given.
pub const HOIST_DATA_DIR: &str = "HOIST_DATA_DIR";
/// The passphrase of the key in a backup, or of the env in an export.
pub const HOIST_BACKUP_PASSPHRASE: &str = "HOIST_BACKUP_PASSPHRASE";
/// Where data of the user lives; the default data directory is `hoist` in it.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// The user's home, when [`XDG_DATA_HOME`] is not set: `.local/share/hoist` in it.
pub const HOME: &str = "HOME";
/// Anything but empty: no colour.
pub const NO_COLOR: &str = "NO_COLOR";
/// `dumb`: no colour, and nothing is drawn in place.
pub const TERM: &str = "TERM";
/// Anything but empty and `0`: colour even where no terminal is, unless [`NO_COLOR`].
pub const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";

/// The program that `hoist open` shows addresses with.
pub const BROWSER: &str = "BROWSER";
/// The editor of `hoist env edit`, before [`EDITOR`].
pub const VISUAL: &str = "VISUAL";
/// The editor of `hoist env edit`; `vi` without it.
pub const EDITOR: &str = "EDITOR";
/// Says that there is a display, as does [`WAYLAND_DISPLAY`].
pub const DISPLAY: &str = "DISPLAY";
/// Says that there is a display, as does [`DISPLAY`].
pub const WAYLAND_DISPLAY: &str = "WAYLAND_DISPLAY";
/// Says that this session came over SSH, so that a browser would open elsewhere.
pub const SSH_CONNECTION: &str = "SSH_CONNECTION";

/// The variables that users set, for the manual.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    (
        HOIST_RACK,
        "the rack to talk to, as --rack: a URL, or a data directory",
    ),
    (
        HOIST_URL,
        "http://:TOKEN@host:port: the rack to talk to, instead of the one of the data directory",
    ),
    (
        HOIST_DATA_DIR,
        "the data directory, when --data-dir is not given",
    ),
    (
        HOIST_BACKUP_PASSPHRASE,
        "the passphrase of the key in a backup, or of the env in an export",
    ),
    (
        XDG_DATA_HOME,
        "where data of the user lives; the default data directory is hoist in it",
    ),
    (NO_COLOR, "anything but empty: no colour"),
    (
        CLICOLOR_FORCE,
        "anything but empty and 0: colour even where no terminal is",
    ),
    (TERM, "dumb: no colour, and nothing is drawn in place"),
    (BROWSER, "the program that hoist open shows addresses with"),
    (VISUAL, "the editor of hoist env edit, before EDITOR"),
    (EDITOR, "the editor of hoist env edit; vi without it"),
];

/// The surroundings of one run, frozen. Tests make their own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// What the program was called as.
    pub called_as: Option<OsString>,
    /// [`HOIST_RACK`].
    pub rack: Option<OsString>,
    /// [`HOIST_URL`].
    pub url: Option<OsString>,
    /// [`HOIST_DATA_DIR`].
    pub data_dir: Option<OsString>,
    /// [`HOIST_BACKUP_PASSPHRASE`].
    pub backup_passphrase: Option<Passphrase>,
    /// [`XDG_DATA_HOME`].
    pub xdg_data_home: Option<OsString>,
    /// [`HOME`].
    pub home: Option<OsString>,
    /// Whether [`NO_COLOR`] or [`TERM`] forbid colour.
    pub plain: bool,
    /// Whether [`CLICOLOR_FORCE`] asks for colour wherever output goes.
    pub colour_forced: bool,
    /// [`BROWSER`].
    pub browser: Option<OsString>,
    /// [`VISUAL`], or [`EDITOR`].
    pub editor: Option<OsString>,
    /// Whether there is a display, by [`DISPLAY`] or [`WAYLAND_DISPLAY`].
    pub display: bool,
    /// Whether this is a session over SSH, by [`SSH_CONNECTION`].
    pub over_ssh: bool,
    /// The directory it runs in.
    pub directory: PathBuf,
    /// [`TERM`], for processes that are given a terminal.
    pub term: Option<String>,
    /// Standard input is this program's, to be read.
    pub reads_input: bool,
    /// Standard input is a terminal.
    pub stdin_terminal: bool,
    /// Standard output is a terminal.
    pub stdout_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_terminal: bool,
    /// Columns of the terminal, if standard output is one.
    pub columns: Option<usize>,
    /// The size of the terminal that standard error is, asked again at each drawing; none where nothing can be drawn
    /// in place.
    pub stderr_size: Option<TerminalSize>,
}

impl Environment {
    /// Reads it. Only `main` calls this. Empty variables count as not set.
    pub fn read() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let stdout_terminal = std::io::stdout().is_terminal();
        let stderr_terminal = std::io::stderr().is_terminal();
        let dumb = variable(TERM).is_none_or(|term| term == "dumb");
        let forced = variable(CLICOLOR_FORCE).is_some_and(|value| value != "0");
        let no_colour = variable(NO_COLOR).is_some();
        let columns = || {
            Some(usize::from(
                terminal_size::terminal_size_of(std::io::stdout())?.0.0,
            ))
        };
        Self {
            called_as: std::env::args_os().next(),
            rack: variable(HOIST_RACK),
            url: variable(HOIST_URL),
            data_dir: variable(HOIST_DATA_DIR),
            backup_passphrase: variable(HOIST_BACKUP_PASSPHRASE)
                .and_then(|passphrase| Passphrase::new(passphrase.to_str()?)),
            xdg_data_home: variable(XDG_DATA_HOME),
            home: variable(HOME),
            plain: no_colour || dumb && !forced,
            colour_forced: forced && !no_colour,
            browser: variable(BROWSER),
            editor: variable(VISUAL).or_else(|| variable(EDITOR)),
            display: variable(DISPLAY)
                .or_else(|| variable(WAYLAND_DISPLAY))
                .is_some(),
            over_ssh: variable(SSH_CONNECTION).is_some(),
            directory: std::env::current_dir().unwrap_or_default(),
            term: variable(TERM).and_then(|term| term.into_string().ok()),
            reads_input: true,
            stdin_terminal: std::io::stdin().is_terminal(),
            stdout_terminal,
            stderr_terminal,
            columns: stdout_terminal
                .then(columns)
                .flatten()
                .filter(|columns| *columns > 0),
            stderr_size: (stderr_terminal && !dumb).then_some(stderr_size as TerminalSize),
        }
    }

    /// How a user types this program again.
    pub fn program(&self) -> &str {
        let called_as = self.called_as.as_ref().and_then(|name| name.to_str());
        called_as
            .filter(|name| name.contains('/'))
            .unwrap_or("hoist")
    }
}

fn stderr_size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stderr())?;
    Some((usize::from(width.0), usize::from(height.0)))
}
