//! `hoist man`: manual pages, made of the grammar.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::context::Context;
use crate::environment::VARIABLES;
use crate::error::{CliError, EXIT_CODES};
use crate::grammar::{examples, grammar};

/// Files that users meet.
const FILES: &[(&str, &str)] = &[
    (
        "~/.local/share/hoist",
        "the rack's data directory, unless --data-dir or HOIST_DATA_DIR names another",
    ),
    (
        "hoist.yml, convox.yml, Procfile",
        "the manifest, at the top of a source directory; the first that is there is read",
    ),
    (
        ".gitignore, .dockerignore",
        "what of a source directory is not uploaded",
    ),
];

/// When the pages last changed in what they say; a page is the same wherever and whenever it is made.
const DATE: &str = "2026-11-22";

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page per command here, as hoist-deploy.1; without it the first page is printed
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: ManArgs, context: &mut Context<'_, '_>) -> Result<(), CliError> {
    let mut grammar = grammar();
    grammar.build();
    let Some(dir) = args.dir else {
        let page = page(&grammar, "").map_err(CliError::Output)?;
        return context.out.line(page.trim_end());
    };
    let dir = context.environment.directory.join(dir);
    let failed = |source| CliError::io(format!("write manual pages to {}", dir.display()), source);
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let written = write(&grammar, "", &dir).map_err(failed)?;
    context
        .out
        .note(&format!("{written} pages are in {}", dir.display()))
}

/// Writes the page of a command and those below it; says how many.
fn write(command: &clap::Command, path: &str, dir: &Path) -> io::Result<usize> {
    let name = format!("hoist {path}").trim().replace(' ', "-");
    std::fs::write(dir.join(format!("{name}.1")), page(command, path)?)?;
    let mut written = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let below = format!("{path} {}", sub.get_name());
        written += write(sub, below.trim(), dir)?;
    }
    Ok(written)
}

/// One page.
fn page(command: &clap::Command, path: &str) -> io::Result<String> {
    let name = format!("hoist {path}").trim().replace(' ', "-");
    let command = command
        .clone()
        .display_name(name.clone())
        // The examples have a section of their own.
        .after_help(None::<&str>);
    let subs = command.get_subcommands().any(|sub| !sub.is_hide_set());
    let man = Man::new(command)
        .title(name.to_uppercase())
        .section("1")
        .date(DATE)
        .source(concat!("hoist ", env!("CARGO_PKG_VERSION")))
        .manual("Hoist");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if subs {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if !examples(path).is_empty() {
        rest.control("SH", ["EXAMPLES"]);
        for (line, what) in examples(path) {
            rest.control("TP", []);
            rest.text([bold(*line)]);
            rest.text([roman(*what)]);
        }
    }
    if path.is_empty() {
        listed(&mut rest, "EXIT STATUS", EXIT_CODES);
        listed(&mut rest, "ENVIRONMENT", VARIABLES);
        listed(&mut rest, "FILES", FILES);
    } else {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold("hoist"), roman("(1)")]);
    }
    rest.to_writer(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // Paragraphs as `mandoc -T lint` wants them.
    let page = page.replace("\n.br\n\n.br\n", "\n.sp\n");
    Ok(page
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect())
}

fn listed(roff: &mut Roff, title: &str, items: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, what) in items {
        roff.control("TP", []);
        roff.text([italic(*name)]);
        roff.text([roman(*what)]);
    }
}
