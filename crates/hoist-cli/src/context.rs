//! What a command gets: where to print, which rack to ask, and the surroundings of this run.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use hoist_api::client::Client;
use hoist_api::types::AppPath;

use crate::args::{AppArgs, Globals};
use crate::environment::Environment;
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::output::Output;
use crate::settings;
use crate::starter::RackStarter;

/// What a command gets.
pub(crate) struct Context<'a, 'o> {
    pub(crate) globals: Globals,
    pub(crate) environment: &'a Environment,
    pub(crate) out: &'a mut Output<'o>,
    starter: Option<&'a dyn RackStarter>,
    /// What goes on when the user interrupts now.
    pub(crate) goes_on: Option<String>,
    /// Whether Ctrl-C ends this command just now.
    pub(crate) interrupts: Interrupts,
    /// Whether somebody sits at the terminal who can be asked.
    pub(crate) asks: bool,
    /// The app that was asked for last.
    asked_app: RefCell<Option<String>>,
}

impl<'a, 'o> Context<'a, 'o> {
    pub(crate) fn new(
        globals: Globals,
        environment: &'a Environment,
        starter: Option<&'a dyn RackStarter>,
        out: &'a mut Output<'o>,
    ) -> Self {
        Self {
            globals,
            environment,
            out,
            starter,
            goes_on: None,
            interrupts: Interrupts::default(),
            asks: environment.stdin_terminal && environment.stderr_terminal,
            asked_app: RefCell::new(None),
        }
    }

    /// The rack to ask: the one that a flag or a variable names, or the one of the data directory.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        settings::target(&self.globals, self.environment).map(Client::new)
    }

    /// The data directory, whether it exists or not.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, CliError> {
        settings::data_dir(&self.globals, self.environment)
    }

    /// What starts racks in this process.
    pub(crate) fn starter(&self) -> Result<&'a dyn RackStarter, CliError> {
        self.starter.ok_or_else(|| {
            CliError::refused(
                "this build of hoist is a client only",
                "name a rack with --rack or HOIST_RACK, or install the whole of hoist",
            )
        })
    }

    /// The app that is named, or that the directory names.
    pub(crate) fn app(&self, args: &AppArgs) -> Result<String, CliError> {
        self.app_of(args, &self.environment.directory)
    }

    /// The same for another directory than the present one.
    pub(crate) fn app_of(&self, args: &AppArgs, directory: &Path) -> Result<String, CliError> {
        let app = settings::app(args.app.as_deref(), directory)?;
        self.asked_app.replace(Some(app.clone()));
        Ok(app)
    }

    /// The app that this command is about, once it asked for one.
    pub(crate) fn asked_app(&self) -> Option<String> {
        self.asked_app.borrow().clone()
    }

    /// The same as the parameter of a path.
    pub(crate) fn app_path(&self, args: &AppArgs) -> Result<AppPath, CliError> {
        self.app(args).map(|app| AppPath { app })
    }
}
