//! Where a passphrase comes from: a file, the environment, or a person at a terminal.

use std::fs;
use std::io;
use std::path::Path;

use crate::context::Context;
use crate::error::CliError;
use crate::starter::Passphrase;

/// What a passphrase is for, in words.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    /// What is asked when it is made: with what an empty one means.
    pub(crate) question: &'static str,
    /// What does without one.
    pub(crate) without: &'static str,
}

/// Whether a terminal may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// A new passphrase, which a slip of the finger would lose.
    Twice,
    Never,
}

/// The passphrase: of the file, of the environment, or of a person.
pub(crate) fn passphrase(
    file: Option<&Path>,
    asking: Asking,
    purpose: Purpose,
    context: &mut Context<'_, '_>,
) -> Result<Option<Passphrase>, CliError> {
    if let Some(path) = file {
        let path = context.environment.directory.join(path);
        let text = fs::read_to_string(&path)
            .map_err(|source| CliError::io(format!("read {}", path.display()), source))?;
        let line = text.lines().next().unwrap_or_default();
        let empty = || {
            CliError::refused(
                format!("{} has no passphrase in its first line", path.display()),
                format!("write one, or use {}", purpose.without),
            )
        };
        return Passphrase::new(line).ok_or_else(empty).map(Some);
    }
    if let Some(passphrase) = &context.environment.backup_passphrase {
        return Ok(Some(passphrase.clone()));
    }
    if asking == Asking::Never || !context.environment.stderr_terminal {
        return Ok(None);
    }
    let first = ask(purpose.question, context)?;
    if first.is_none() {
        return Ok(None);
    }
    if ask("The same again: ", context)? == first {
        Ok(first)
    } else {
        Err(CliError::refused("the two passphrases differ", "try again"))
    }
}

/// Asks the person at the terminal, without showing what is typed.
pub(crate) fn ask(
    question: &str,
    context: &mut Context<'_, '_>,
) -> Result<Option<Passphrase>, CliError> {
    debug_assert!(context.environment.stderr_terminal);
    match rpassword::prompt_password(question) {
        Ok(typed) => Ok(Passphrase::new(&typed)),
        // Ctrl-C; the terminal is as it was.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(CliError::Interrupted { goes_on: None })
        }
        // Ctrl-D is no answer, and must not leave the key out.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            context.out.chatter("")?;
            Err(CliError::refused("no passphrase was given", "try again"))
        }
        Err(source) => Err(CliError::io("read a passphrase from the terminal", source)),
    }
}
