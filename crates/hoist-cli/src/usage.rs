//! Wrong usage in our words: what is not understood, and what was probably meant.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::CliError;

/// Words that other products of this kind have for what has another name here: the command they stand below, and what
/// to type.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("", "config", "`hoist env`"),
    ("", "vars", "`hoist env`"),
    ("", "secrets", "`hoist env`"),
    ("", "set", "`hoist env set KEY=VALUE`"),
    ("", "unset", "`hoist env unset KEY`"),
    ("", "create", "`hoist apps create NAME`"),
    ("", "destroy", "`hoist apps delete NAME`"),
    ("", "delete", "`hoist apps delete NAME`"),
    ("", "list", "`hoist apps`"),
    ("", "ls", "`hoist apps`"),
    ("", "info", "`hoist apps info`"),
    ("", "status", "`hoist apps info` or `hoist ps`"),
    ("", "push", "`hoist deploy`"),
    (
        "",
        "redeploy",
        "`hoist deploy`, or `hoist restart` for the same release",
    ),
    ("", "rebuild", "`hoist deploy`"),
    ("", "history", "`hoist releases`"),
    ("", "tail", "`hoist logs -f`"),
    ("", "log", "`hoist logs`"),
    ("", "processes", "`hoist ps`"),
    ("", "services", "`hoist scale`, which lists them"),
    ("", "resize", "`hoist scale`"),
    ("", "kill", "`hoist ps stop PID`"),
    (
        "",
        "shell",
        "`hoist exec PID sh`, or `hoist run SERVICE sh` for a new process",
    ),
    (
        "",
        "ssh",
        "`hoist exec PID sh`, or `hoist run SERVICE sh` for a new process",
    ),
    ("", "enter", "`hoist exec PID sh`"),
    ("", "console", "`hoist exec PID sh`"),
    ("", "url", "`hoist open --print`"),
    ("", "urls", "`hoist apps info`"),
    ("", "browse", "`hoist open`"),
    ("", "validate", "`hoist manifest validate`"),
    ("", "racks", "`hoist rack`; --rack names another one"),
    ("", "switch", "--rack or HOIST_RACK, which name the rack"),
    (
        "",
        "login",
        "HOIST_URL=http://:TOKEN@host:port; on the rack's own machine no login is needed",
    ),
    ("", "completion", "`hoist completions`"),
    ("apps", "destroy", "`hoist apps delete NAME`"),
    ("apps", "remove", "`hoist apps delete NAME`"),
    ("apps", "rm", "`hoist apps delete NAME`"),
    ("apps", "list", "`hoist apps`"),
    ("apps", "ls", "`hoist apps`"),
    ("apps", "show", "`hoist apps info NAME`"),
    ("apps", "report", "`hoist apps info NAME`"),
    ("apps", "cancel", "`hoist cancel -a NAME`"),
    ("ps", "scale", "`hoist scale web=2`"),
    ("ps", "restart", "`hoist restart`"),
    ("ps", "rebuild", "`hoist deploy`"),
    ("ps", "start", "`hoist start`"),
    ("ps", "report", "`hoist ps`"),
    ("ps", "list", "`hoist ps`"),
    ("ps", "info", "`hoist ps`"),
    ("config", "set", "`hoist env set KEY=VALUE`"),
    ("config", "get", "`hoist env get KEY`"),
    ("config", "unset", "`hoist env unset KEY`"),
    ("config", "show", "`hoist env`"),
    ("env", "list", "`hoist env`"),
    ("env", "show", "`hoist env`"),
    ("env", "edit", "`hoist env set KEY=VALUE`"),
    ("env", "remove", "`hoist env unset KEY`"),
    ("env", "delete", "`hoist env unset KEY`"),
    ("releases", "list", "`hoist releases`"),
    ("releases", "show", "`hoist releases info R…`"),
    ("builds", "list", "`hoist builds`"),
    ("builds", "create", "`hoist build`"),
    ("builds", "show", "`hoist builds info B…`"),
    ("promotions", "list", "`hoist promotions`"),
    ("promotions", "cancel", "`hoist cancel`"),
    ("rack", "info", "`hoist rack`"),
    ("rack", "logs", "`hoist logs -a hoist`"),
    ("rack", "ps", "`hoist ps -a hoist`"),
    ("manifest", "check", "`hoist manifest validate`"),
];

/// What users typed that the grammar does not have, in our words.
pub(crate) fn explain(error: &clap::Error, args: &[OsString], grammar: &clap::Command) -> CliError {
    let (command, path) = reached(args, grammar);
    let typed = |kind| text(error.get(kind));
    let program = format!("hoist {path}").trim().to_owned();
    let help = format!("`{program} --help` shows what it takes");
    let (message, hint) = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = typed(ContextKind::InvalidSubcommand);
            no_command(&path, &word, command, near(error))
        }
        ErrorKind::UnknownArgument => {
            let word = typed(ContextKind::InvalidArg);
            if word.starts_with('-') {
                let hint = near(error).map_or(help, |flag| format!("did you mean `{flag}`?"));
                (format!("`{program}` has no flag `{word}`"), hint)
            } else if command.has_subcommands() {
                no_command(&path, &word, command, None)
            } else {
                let hint = elsewhere(&path, &word).unwrap_or(help);
                (format!("`{program}` does not take `{word}`"), hint)
            }
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => (
            format!("`{program}` wants a command: {}", names(command)),
            help,
        ),
        ErrorKind::MissingRequiredArgument => {
            let usage = typed(ContextKind::Usage);
            let usage = usage.trim().trim_start_matches("Usage: ");
            let missing = typed(ContextKind::InvalidArg);
            (
                format!("`{program}` needs {missing}"),
                format!("usage: `{usage}`"),
            )
        }
        ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            let wanted = typed(ContextKind::InvalidArg);
            (format!("`{program}` needs all of {wanted}"), help)
        }
        ErrorKind::InvalidValue => {
            let (argument, value) = (
                typed(ContextKind::InvalidArg),
                typed(ContextKind::InvalidValue),
            );
            let valid = typed(ContextKind::ValidValue);
            let hint = match near(error) {
                Some(value) => format!("did you mean `{value}`?"),
                None if valid.is_empty() => help,
                None => format!("it takes one of {valid}"),
            };
            let message = if value.is_empty() {
                format!("`{argument}` wants a value")
            } else {
                format!("`{argument}` does not take `{value}`")
            };
            (message, hint)
        }
        ErrorKind::ValueValidation => {
            let (argument, value) = (
                typed(ContextKind::InvalidArg),
                typed(ContextKind::InvalidValue),
            );
            let why = std::error::Error::source(error).map(ToString::to_string);
            (
                format!("`{argument}` does not take `{value}`"),
                why.unwrap_or(help),
            )
        }
        ErrorKind::ArgumentConflict => {
            let (one, other) = (typed(ContextKind::InvalidArg), typed(ContextKind::PriorArg));
            (format!("`{one}` and `{other}` do not go together"), help)
        }
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            (line.trim_start_matches("error: ").to_owned(), help)
        }
    };
    CliError::usage(message, hint)
}

/// A word where a command belongs.
fn no_command(
    path: &str,
    word: &str,
    command: &clap::Command,
    near: Option<String>,
) -> (String, String) {
    let program = format!("hoist {path}").trim().to_owned();
    let message = format!("there is no command `{program} {word}`");
    let hint = elsewhere(path, word)
        .or_else(|| near.map(|near| format!("did you mean `{program} {near}`?")))
        .unwrap_or_else(|| match path {
            "" => "`hoist help` lists the commands".to_owned(),
            _ => format!("`{program}` has {}", names(command)),
        });
    (message, hint)
}

/// What another product's word is here. A colon separates Dokku's words, which are looked up as ours are.
fn elsewhere(path: &str, word: &str) -> Option<String> {
    let found = |path: &str, word: &str| {
        let mut known = ELSEWHERE.iter();
        let (.., here) = known.find(|(below, name, _)| *below == path && *name == word)?;
        Some(format!("here that is {here}"))
    };
    if let Some(here) = found(path, word) {
        return Some(here);
    }
    let (first, second) = word.split_once(':').filter(|_| path.is_empty())?;
    let first = if first == "config" { "env" } else { first };
    found(first, second).or_else(|| {
        let grammar = crate::grammar::grammar();
        let known = grammar.find_subcommand(first)?.find_subcommand(second)?;
        Some(format!("here that is `hoist {first} {}`", known.get_name()))
    })
}

/// The nearest of what would have been right.
fn near(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    let found = kinds.into_iter().find_map(|kind| error.get(kind))?;
    match found {
        // The last is the most alike.
        ContextValue::Strings(texts) => texts.last().cloned(),
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn text(value: Option<&ContextValue>) -> String {
    match value {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        Some(ContextValue::StyledStrs(texts)) => texts
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Some(ContextValue::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn names(command: &clap::Command) -> String {
    let names = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    names
        .map(clap::Command::get_name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The innermost command that the arguments name, and the words that name it.
fn reached<'g>(args: &[OsString], grammar: &'g clap::Command) -> (&'g clap::Command, String) {
    let (mut command, mut path) = (grammar, Vec::new());
    for word in args.iter().skip(1).filter_map(|word| word.to_str()) {
        match command.find_subcommand(word) {
            Some(sub) => {
                command = sub;
                path.push(sub.get_name());
            }
            // A value of a flag, or the word that is wrong.
            None if word == "--" => break,
            None => {}
        }
    }
    (command, path.join(" "))
}
