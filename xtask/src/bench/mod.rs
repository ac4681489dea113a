//! `cargo xtask bench`: measures what was promised and writes it down in `docs/performance.md`, with machine and date.
//!
//! A measurement is a function that returns rows; one that cannot measure still has its row, with the reason. No row is
//! ever missing, and rows of measurements that did not run this time stay as they were.

mod deploy;
mod reboot;
mod rest;
mod router;
mod run;
mod soak;
mod up;
mod upload;
mod weight;
mod weighty;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::root;

/// One line of the table of figures.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What was promised.
    pub(crate) bar: String,
    /// What came out.
    pub(crate) measured: String,
    /// Whether the promise holds.
    pub(crate) reached: bool,
}

/// A group of measurements that run together.
struct Bench {
    name: &'static str,
    title: &'static str,
    /// Gets the path of the optimised binary.
    run: fn(&Path) -> Result<Vec<Row>>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "deploy",
        title: "Deploy, switch and rollback",
        run: deploy::run,
    },
    Bench {
        name: "run",
        title: "Run: its start, a keystroke, a gigabyte",
        run: run::run,
    },
    Bench {
        name: "rest",
        title: "At rest",
        run: rest::run,
    },
    Bench {
        name: "reboot",
        title: "After a reboot",
        run: reboot::run,
    },
    Bench {
        name: "router",
        title: "Router beside nginx",
        run: |binary| router::run(&[binary.display().to_string(), "router".to_owned()]),
    },
    Bench {
        name: "upload",
        title: "Uploads",
        run: upload::run,
    },
    Bench {
        name: "weight",
        title: "A thousand apps, ten thousand releases",
        run: weight::run,
    },
    Bench {
        name: "up",
        title: "First command, repeated",
        run: up::repeated,
    },
    Bench {
        name: "cold",
        title: "First command, from nothing",
        run: up::cold,
    },
    Bench {
        name: "soak",
        title: "Changes under load",
        run: soak::changes,
    },
    Bench {
        name: "standing",
        title: "Scalings and restarts under load",
        run: soak::standing,
    },
    Bench {
        name: "kill",
        title: "Deaths of the rack under load",
        run: soak::kills,
    },
];

/// Sorts times and says their median and their worst.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(worst)) => {
            format!(
                "{:.0} ms (median of {}, worst {:.0} ms)",
                ms(*median),
                times.len(),
                ms(*worst)
            )
        }
        _ => "nothing".to_owned(),
    }
}

const FILE: &str = "docs/performance.md";
const HEAD: &str = "# Performance\n\nWritten by `cargo xtask bench`. A bar is what was promised; a row that does not reach \
                    it says so.\n";

/// Runs the named measurements, or all, and writes their rows. `--bin PATH` before the names measures that binary.
///
/// # Errors
/// When a name is not known, or the binary cannot be built. A bar that is not reached is no error.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if names == ["--list"] {
        for bench in BENCHES {
            println!("{:12} {}", bench.name, bench.title);
        }
        return Ok(());
    }
    let (given, names) = match names {
        ["--bin", path, names @ ..] => (Some(PathBuf::from(path)), names),
        names => (None, names),
    };
    if let Some(unknown) = names
        .iter()
        .find(|name| !BENCHES.iter().any(|bench| bench.name == **name))
    {
        bail!(
            "no measurement is called `{unknown}`: `cargo xtask bench --list` says what there is"
        );
    }
    let root = root()?;
    let binary = given.map_or_else(|| binary(&root), Ok)?;
    for bench in BENCHES
        .iter()
        .filter(|bench| names.is_empty() || names.contains(&bench.name))
    {
        eprintln!("Measuring {}...", bench.name);
        let rows = (bench.run)(&binary).unwrap_or_else(|error| vec![not_measured(bench, &error)]);
        let section = section(bench, &rows, &conditions(&root));
        print!("{section}");
        let path = root.join(FILE);
        let before = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
        fs::write(&path, replace(&before, bench.name, &section))
            .with_context(|| format!("cannot write {FILE}"))?;
    }
    Ok(())
}

fn binary(root: &Path) -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--package",
            "hoist",
            "--message-format",
            "json",
        ])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "the optimised binary does not build"
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "hoist")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .context("cargo built no binary")
}

fn not_measured(bench: &Bench, error: &anyhow::Error) -> Row {
    Row {
        what: bench.title.to_owned(),
        bar: "see above".to_owned(),
        measured: format!("not measured: {error:#}"),
        reached: false,
    }
}

/// Machine, its load, date and commit in one line.
fn conditions(root: &Path) -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .current_dir(root)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let unknown = || "unknown".to_owned();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{}; {cores} cores of {}, load average {load}; Linux {}; commit {}",
        said("date", &["-u", "+%F"]).unwrap_or_else(unknown),
        model.unwrap_or_else(unknown),
        said("uname", &["-r"]).unwrap_or_else(unknown),
        said("git", &["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(unknown),
    )
}

fn section(bench: &Bench, rows: &[Row], conditions: &str) -> String {
    let mut text = format!(
        "## {}\n\n{conditions}\n\n| what | bar | measured | |\n|---|---|---|---|\n",
        bench.title
    );
    for row in rows {
        let word = if row.reached {
            "reached"
        } else {
            "not reached"
        };
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {word} |",
            cell(&row.what),
            cell(&row.bar),
            cell(&row.measured)
        );
    }
    text
}

/// The document with one section replaced, or added at the end. Marks around sections keep what people write beside them.
fn replace(document: &str, name: &str, section: &str) -> String {
    let (open, close) = (
        format!("<!-- bench {name} -->\n"),
        format!("<!-- end of {name} -->\n"),
    );
    let block = format!("{open}{section}{close}");
    let found = document.find(&open).and_then(|start| {
        let end = document[start..].find(&close)? + start + close.len();
        Some((start, end))
    });
    match found {
        Some((start, end)) => format!("{}{block}{}", &document[..start], &document[end..]),
        None => format!("{}\n\n{block}", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_in_place_and_what_stands_beside_it_is_kept() {
        let first = replace("# P\n", "a", "one\n");
        let both = replace(&first, "b", "two\n");
        let with_words = both.replace("<!-- bench b -->", "Words.\n\n<!-- bench b -->");
        let again = replace(&with_words, "a", "three\n");
        assert_eq!(
            again,
            "# P\n\n<!-- bench a -->\nthree\n<!-- end of a -->\n\nWords.\n\n<!-- bench b -->\ntwo\n<!-- end of b -->\n"
        );
    }

    #[test]
    fn a_row_that_is_not_reached_says_so() {
        let row = Row {
            what: "a|b".to_owned(),
            bar: "1".to_owned(),
            measured: "2".to_owned(),
            reached: false,
        };
        let text = section(&BENCHES[0], &[row], "today");
        assert!(
            text.ends_with("| a\\|b | 1 | 2 | not reached |\n"),
            "{text}"
        );
    }
}
