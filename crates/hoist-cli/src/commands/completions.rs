//! `hoist completions` prints a script for a shell; the script asks `hoist __complete` at each press of the key.
//!
//! What can follow is read from the grammar, so a script never goes stale; names of apps, services and releases come
//! from the rack, within a limit that nobody notices. Whatever is in the way (no rack, a slow one, half a command line)
//! means fewer suggestions and never an error, because a line that is being typed is no place for one.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Args, Command, ValueEnum};
use hoist_api::client::Client;
use hoist_api::endpoints::{AppList, BuildList, EnvGet, ProcessList, PromotionList, ReleaseList};
use hoist_api::types::{AppPath, Empty, EnvQuery};

use crate::args::{AppArgs, Globals};
use crate::context::Context;
use crate::error::CliError;
use crate::grammar::grammar;
use crate::nearest::{page, services};
use crate::settings;

/// How long the rack may take: a key that is pressed waits for it.
const LIMIT: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

/// What a script asks: the words up to the cursor, the program's name first and the one being typed last.
#[derive(Debug, Args)]
pub(crate) struct Complete {
    shell: Shell,
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// Shells that a script is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// Friendly interactive shell
    Fish,
}

/// Prints the script of a shell.
pub(crate) fn run(args: &Completions, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let script = match args.shell {
        Shell::Bash => include_str!("completions/hoist.bash"),
        Shell::Zsh => include_str!("completions/hoist.zsh"),
        Shell::Fish => include_str!("completions/hoist.fish"),
    };
    context.out.line(script.trim_end())
}

/// Prints what can stand where the cursor is: one per line, behind a tab what it means.
pub(crate) async fn complete(
    args: Complete,
    context: &mut Context<'_, '_>,
) -> Result<(), CliError> {
    let words: Vec<_> = args
        .words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut grammar = grammar();
    grammar.build();
    let place = Place::of(&grammar, &words, args.shell);
    for (word, what) in candidates(&place, context).await {
        // What users wrote may hold tabs and line ends.
        let what = what.replace(char::is_control, " ");
        if what.is_empty() {
            context.out.line(&word)?;
        } else {
            context.out.line(&format!("{word}\t{what}"))?;
        }
    }
    Ok(())
}

/// Where the cursor is in a command line.
struct Place<'g> {
    command: &'g Command,
    path: Vec<String>,
    next: NextWord<'g>,
    /// What is typed of the word already.
    typed: String,
    /// What the shell wants in front of each candidate: the flag of `--app=…` where it is one word.
    before: String,
    app: Option<String>,
    data_dir: Option<String>,
    rack: Option<String>,
    /// It is about help: only commands can follow.
    helps: bool,
}

/// What the word at the cursor can be.
enum NextWord<'g> {
    /// A value of this flag or argument.
    Value(&'g Arg),
    /// A command, or else a value of this argument.
    CommandOr(Option<&'g Arg>),
    Flag,
    Nothing,
}

impl<'g> Place<'g> {
    fn of(grammar: &'g Command, words: &[String], shell: Shell) -> Self {
        let (typed, before) = match words.split_last() {
            Some((typed, before)) => (typed.clone(), before.get(1..).unwrap_or_default()),
            None => (String::new(), &[][..]),
        };
        let mut place = Self {
            command: grammar,
            path: Vec::new(),
            next: NextWord::Nothing,
            typed,
            before: String::new(),
            app: None,
            data_dir: None,
            rack: None,
            helps: false,
        };
        let (mut wants, mut positionals, mut escaped) = (None, 0, false);
        for word in before {
            if let Some(arg) = wants.take() {
                // bash takes `--app=x` apart at the sign.
                if word == "=" {
                    wants = Some(arg);
                } else {
                    place.note(arg, word);
                }
            } else if escaped || !word.starts_with('-') || word == "-" {
                let sub = place.command.find_subcommand(word);
                match sub.filter(|_| positionals == 0 && !escaped) {
                    // What is behind `help` is found as if it stood there alone.
                    Some(sub) if sub.get_name() == "help" && place.path.is_empty() => {
                        place.helps = true;
                    }
                    Some(sub) => {
                        place.command = sub;
                        place.path.push(sub.get_name().to_owned());
                    }
                    None => {
                        positionals += 1;
                        // From here on everything is the command of somebody else.
                        escaped |= place.carries_a_command();
                    }
                }
            } else if word == "--" {
                escaped = true;
            } else {
                wants = place.flag(word);
            }
        }
        place.next = place.at_cursor(wants, positionals, escaped, shell);
        place
    }

    /// Whether what follows the first word is the command line of another program.
    fn carries_a_command(&self) -> bool {
        let mut all = self.command.get_positionals();
        all.any(Arg::is_trailing_var_arg_set)
    }

    /// Notes a flag with its value; the flag whose value comes next, if it does.
    fn flag(&mut self, word: &str) -> Option<&'g Arg> {
        let (arg, value) = match word.strip_prefix("--") {
            Some(long) => {
                let (name, value) = long.split_once('=').unzip();
                (self.long(name.unwrap_or(long))?, value.map(str::to_owned))
            }
            None => {
                let mut letters = word.chars().skip(1);
                let arg = letters.by_ref().find_map(|letter| {
                    self.command
                        .get_arguments()
                        .find(|arg| arg.get_short() == Some(letter) && takes_value(arg))
                })?;
                let value: String = letters.collect();
                (arg, Some(value).filter(|value| !value.is_empty()))
            }
        };
        match value {
            Some(value) => self.note(arg, &value),
            None if takes_value(arg) => return Some(arg),
            None => {}
        }
        None
    }

    fn long(&self, name: &str) -> Option<&'g Arg> {
        let mut all = self.command.get_arguments();
        all.find(|arg| arg.get_long() == Some(name))
    }

    fn note(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "app" => self.app = Some(value.to_owned()),
            "data_dir" => self.data_dir = Some(value.to_owned()),
            "rack" => self.rack = Some(value.to_owned()),
            _ => {}
        }
    }

    fn at_cursor(
        &mut self,
        wants: Option<&'g Arg>,
        positionals: usize,
        escaped: bool,
        shell: Shell,
    ) -> NextWord<'g> {
        if let Some(arg) = wants {
            if shell == Shell::Bash && self.typed == "=" {
                self.typed.clear();
            }
            return NextWord::Value(arg);
        }
        if self.typed.starts_with('-') && !escaped {
            let Some((flag, value)) = self.typed.split_once('=') else {
                return NextWord::Flag;
            };
            let arg = flag.strip_prefix("--").and_then(|name| self.long(name));
            (self.before, self.typed) = (format!("{flag}="), value.to_owned());
            return arg
                .filter(|arg| takes_value(arg))
                .map_or(NextWord::Nothing, NextWord::Value);
        }
        if self.helps {
            let more = positionals == 0 && self.command.has_subcommands();
            return if more {
                NextWord::CommandOr(None)
            } else {
                NextWord::Nothing
            };
        }
        if positionals > 0 && self.carries_a_command() {
            return NextWord::Nothing;
        }
        let mut all = self.command.get_positionals();
        let positional = all.nth(positionals).or_else(|| {
            let last = self.command.get_positionals().last()?;
            let many = last
                .get_num_args()
                .is_some_and(|range| range.max_values() > 1);
            (many || matches!(last.get_action(), clap::ArgAction::Append)).then_some(last)
        });
        if positionals == 0 && !escaped && self.command.has_subcommands() {
            return NextWord::CommandOr(positional);
        }
        positional.map_or(NextWord::Nothing, NextWord::Value)
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// Words that can stand there and what they mean; of lines that begin with a colon the shell makes files or directories.
async fn candidates(place: &Place<'_>, context: &Context<'_, '_>) -> Vec<(String, String)> {
    let mut found = match place.next {
        NextWord::Nothing => Vec::new(),
        NextWord::Flag => flags(place.command),
        NextWord::Value(arg) => values(arg, place, context).await,
        NextWord::CommandOr(arg) => {
            let mut found = commands(place.command);
            if let Some(arg) = arg {
                found.extend(values(arg, place, context).await);
            }
            found
        }
    };
    found.retain(|(word, _)| word.starts_with(&place.typed) || word.starts_with(':'));
    for (word, _) in &mut found {
        if !word.starts_with(':') {
            word.insert_str(0, &place.before);
        }
    }
    found
}

fn commands(command: &Command) -> Vec<(String, String)> {
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    visible
        .map(|sub| (sub.get_name().to_owned(), first_line(sub.get_about())))
        .collect()
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    visible
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(arg.get_help()))))
        .collect()
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the rack is asked for, or the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Apps,
    Services,
    Sizes,
    Releases,
    Builds,
    Promotions,
    Processes,
    Variables,
    Assignments,
}

impl Names {
    /// What the values of an argument are names of, by what the argument is called.
    fn of(path: &[String], arg: &Arg) -> Option<Self> {
        let creates = path.last().is_some_and(|last| last == "create");
        let shown = arg.get_value_names().and_then(<[_]>::first);
        match (arg.get_id().as_str(), shown.map(|name| name.as_str())) {
            ("app", _) => Some(Self::Apps),
            ("name", _) if path.first().is_some_and(|first| first == "apps") && !creates => {
                Some(Self::Apps)
            }
            ("service" | "services", _) => Some(Self::Services),
            ("targets", _) => Some(Self::Sizes),
            ("words", _) if path == ["run"] => Some(Self::Services),
            ("words", _) if path == ["exec"] => Some(Self::Processes),
            ("release", _) => Some(Self::Releases),
            ("build", _) => Some(Self::Builds),
            ("number", _) => Some(Self::Promotions),
            ("process" | "pid", _) => Some(Self::Processes),
            ("key" | "keys", _) => Some(Self::Variables),
            ("variables", _) => Some(Self::Assignments),
            (_, Some("APP")) => Some(Self::Apps),
            (_, Some("SERVICE")) => Some(Self::Services),
            (_, Some("PID")) => Some(Self::Processes),
            _ => None,
        }
    }
}

async fn values(arg: &Arg, place: &Place<'_>, context: &Context<'_, '_>) -> Vec<(String, String)> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let visible = possible.iter().filter(|value| !value.is_hide_set());
        return visible
            .map(|value| (value.get_name().to_owned(), first_line(value.get_help())))
            .collect();
    }
    match (arg.get_id().as_str(), &*place.path) {
        ("dir" | "data_dir" | "rack", _) => return vec![(":dirs".to_owned(), String::new())],
        ("manifest" | "file" | "path", _) => return vec![(":files".to_owned(), String::new())],
        ("command", [help]) if help == "help" => return help_words(place),
        _ => {}
    }
    let Some(names) = Names::of(&place.path, arg) else {
        return Vec::new();
    };
    tokio::time::timeout(LIMIT, ask(names, place, context))
        .await
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// `hoist help` takes commands.
fn help_words(place: &Place<'_>) -> Vec<(String, String)> {
    // Only the first word: those below a command show in its own help.
    let grammar = grammar();
    let mut found = commands(&grammar);
    found.retain(|(word, _)| word != "help" || place.typed == "help");
    found
}

/// Names from the rack; none when anything is in the way.
async fn ask(
    names: Names,
    place: &Place<'_>,
    context: &Context<'_, '_>,
) -> Option<Vec<(String, String)>> {
    let globals = Globals {
        data_dir: place
            .data_dir
            .as_ref()
            .map(Into::into)
            .or_else(|| context.globals.data_dir.clone()),
        rack: place
            .rack
            .as_ref()
            .map(Into::into)
            .or_else(|| context.globals.rack.clone()),
        ..Globals::default()
    };
    let client = Client::new(settings::target(&globals, context.environment).ok()?);
    let none = Empty {};
    if names == Names::Apps {
        let apps = client.call::<AppList>(&none, &none, &none).await.ok()?;
        let app = |app: hoist_api::types::App| (app.name, app.status.to_string());
        return Some(apps.items.into_iter().map(app).collect());
    }
    let app = AppArgs {
        app: place.app.clone(),
    };
    let path = AppPath {
        app: context.app(&app).ok()?,
    };
    let found = match names {
        Names::Apps => Vec::new(),
        Names::Services => bare(services(&client, &path).await?, ""),
        Names::Sizes => bare(services(&client, &path).await?, "="),
        Names::Releases => {
            let list = client
                .call::<ReleaseList>(&path, &page(), &none)
                .await
                .ok()?;
            let releases = list.items.into_iter();
            releases
                .map(|release| (release.id, release.description))
                .collect()
        }
        Names::Builds => {
            let list = client.call::<BuildList>(&path, &page(), &none).await.ok()?;
            let builds = list.items.into_iter();
            builds.map(|build| (build.id, build.description)).collect()
        }
        Names::Promotions => {
            let list = client
                .call::<PromotionList>(&path, &page(), &none)
                .await
                .ok()?;
            let promotions = list.items.into_iter();
            promotions
                .map(|promotion| {
                    (
                        promotion.number,
                        format!("{} {}", promotion.kind, promotion.release),
                    )
                })
                .collect()
        }
        Names::Processes => {
            let list = client.call::<ProcessList>(&path, &none, &none).await.ok()?;
            let processes = list.items.into_iter();
            processes
                .map(|process| (process.id, format!("{} {}", process.name, process.status)))
                .collect()
        }
        Names::Variables | Names::Assignments => {
            let query = EnvQuery::default();
            let env = client.call::<EnvGet>(&path, &query, &none).await.ok()?;
            let sign = if names == Names::Assignments { "=" } else { "" };
            bare(env.env.into_keys().collect(), sign)
        }
    };
    Some(found)
}

/// Names without a word about them.
fn bare(names: Vec<String>, sign: &str) -> Vec<(String, String)> {
    let named = names.into_iter();
    named.map(|name| (name + sign, String::new())).collect()
}
