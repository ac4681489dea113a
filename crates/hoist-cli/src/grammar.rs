//! The grammar as users meet it: the commands in groups, and each with examples that are tested to be right.

mod examples;

use clap::CommandFactory;

use crate::args::Cli;
use examples::EXAMPLES;

/// The groups of commands, in the order in which one meets them. A name that this build lacks is passed over.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Deploy",
        &[
            "up", "deploy", "build", "promote", "rollback", "cancel", "manifest",
        ],
    ),
    (
        "Look",
        &[
            "apps",
            "ps",
            "logs",
            "events",
            "releases",
            "builds",
            "promotions",
            "open",
        ],
    ),
    ("Change", &["env", "scale", "restart", "stop", "start"]),
    ("Run", &["run", "exec"]),
    ("Rack", &["rack", "doctor"]),
    ("Help", &["help", "completions", "man", "version"]),
];

/// Every command and flag, with groups and examples.
pub(crate) fn grammar() -> clap::Command {
    let grammar = dress(Cli::command(), "");
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}\n\n\
         `hoist help COMMAND` shows examples and flags of a command.",
        grouped(&grammar)
    );
    grammar.help_template(template)
}

/// What help is made for.
const COLUMNS: usize = 80;

/// What a command is typed like, and what for.
pub(crate) fn examples(path: &str) -> &'static [(&'static str, &'static str)] {
    let found = EXAMPLES.iter().find(|(known, _)| *known == path);
    found.map_or(&[], |(_, examples)| examples)
}

/// The command and those below it, each with its examples below its help.
fn dress(mut command: clap::Command, path: &str) -> clap::Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        let below = format!("{path} {name}").trim().to_owned();
        command = command.mut_subcommand(name, |sub| dress(sub, &below));
    }
    let examples = examples(path);
    if examples.is_empty() {
        return command;
    }
    let column = examples.iter().map(|(line, _)| line.len()).max();
    let column = column.unwrap_or_default();
    let widest = examples.iter().map(|(_, what)| what.len()).max();
    let beside = column + widest.unwrap_or_default() + 4 <= COLUMNS;
    let lines = examples.iter().map(|(line, what)| {
        let text = match beside {
            true => format!("  {line:<column$}  {what}"),
            false => format!("  {line}\n      {what}"),
        };
        text.trim_end().to_owned()
    });
    let lines: Vec<_> = lines.collect();
    let own = command.get_after_help().map(|own| format!("\n\n{own}"));
    let own = own.unwrap_or_default();
    command.after_help(format!("Examples:\n{}{own}", lines.join("\n")))
}

/// The commands in their groups; what is in none comes last.
fn grouped(grammar: &clap::Command) -> String {
    let visible: Vec<_> = grammar
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .collect();
    let width = visible.iter().map(|sub| sub.get_name().len()).max();
    let width = width.unwrap_or_default();
    let line = |sub: &clap::Command| {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        // Its own help has the rest.
        let short = about.split([':', ';']).next().unwrap_or_default();
        format!("  {:<width$}  {short}\n", sub.get_name())
    };
    let mut text = String::new();
    for (title, names) in GROUPS {
        let subs = names
            .iter()
            .filter_map(|name| visible.iter().find(|sub| sub.get_name() == *name));
        let lines: String = subs.map(|sub| line(sub)).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n{lines}\n"));
        }
    }
    let known = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others = visible.iter().filter(|sub| !known(sub.get_name()));
    let others: String = others.map(|sub| line(sub)).collect();
    if !others.is_empty() {
        text.push_str(&format!("More:\n{others}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &clap::Command, path: &str, see: &mut dyn FnMut(&clap::Command, &str)) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let below = format!("{path} {}", sub.get_name()).trim().to_owned();
            see(sub, &below);
            each(sub, &below, see);
        }
    }

    #[test]
    fn the_grammar_holds_together() {
        grammar().debug_assert();
    }

    #[test]
    fn every_command_is_in_a_group_and_has_an_example() {
        let grammar = grammar();
        assert!(
            !grouped(&grammar).contains("More:"),
            "{}",
            grouped(&grammar)
        );
        each(&grammar, "", &mut |command, path| {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(
                help.starts_with("Examples:\n  hoist "),
                "{path} has no example"
            );
        });
    }

    #[test]
    fn every_example_parses_and_is_of_its_command() {
        for (path, examples) in EXAMPLES {
            for (line, _) in *examples {
                let words = shlex::split(line).expect("words");
                let words: Vec<_> = words.into_iter().take_while(|word| word != ">").collect();
                assert!(line.starts_with("hoist "), "{line}");
                if let Err(error) = grammar().try_get_matches_from(&words) {
                    panic!("`{line}` of `{path}`: {error}");
                }
                let first = path.split(' ').next().expect("a word");
                assert_eq!(words[1], first, "`{line}` of `{path}`");
            }
        }
    }

    #[test]
    fn help_fits_80_columns() {
        let mut help = vec![(String::new(), grammar().render_help().to_string())];
        each(&grammar(), "", &mut |command, path| {
            // What else stands there is wrapped by clap.
            let text = command.get_after_help().map(ToString::to_string);
            let text = text.unwrap_or_default();
            let examples = text.split("\n\n").next().unwrap_or_default();
            help.push((path.to_owned(), examples.to_owned()));
        });
        for (path, text) in help {
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS, "`{path}`: {line}");
            }
        }
    }
}
