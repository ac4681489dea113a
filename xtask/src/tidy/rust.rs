//! Rules about Rust sources.

use std::path::Path;

/// A file longer than this has more than one thing in it.
const LINES_MAX: usize = 600;
/// Files that are longer, and how long they may be. The list and its numbers only ever shrink: split the file instead.
const LONGER: &[(&str, usize)] = &[];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "common", "misc",
];
/// The one file with `unsafe` in it.
const UNSAFE: &str = "crates/hoist-engine/src/local/shim/sys.rs";
/// The one file that reads the environment.
const ENVIRONMENT: &str = "crates/hoist-cli/src/environment.rs";
/// Where fronts for other products' protocols live, and who may mount them.
const FRONTS: &str = "crates/hoist-rack/src/compat/";
const MOUNTS: &[&str] = &[
    "crates/hoist-rack/src/lib.rs",
    "crates/hoist-rack/src/api/mod.rs",
];

pub(super) fn complaints(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!(
            "{file}: begin with `//!`: why the file exists, and the one thing a reader must know"
        ));
    }
    found.extend(length(file, text.lines().count()));
    found.extend(name(file));
    let tests = test_lines(file, text);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let complaint = unsafety(file, line)
            .or_else(|| environment(file, line, tests.contains(&index)))
            .or_else(|| ignored(line))
            .or_else(|| front(file, line));
        found.extend(complaint.map(|complaint| format!("{file}:{}: {complaint}", index + 1)));
    }
    found
}

fn length(file: &str, lines: usize) -> Option<String> {
    let max = LONGER
        .iter()
        .find(|(long, _)| *long == file)
        .map_or(LINES_MAX, |(_, max)| *max);
    (lines > max).then(|| {
        format!(
            "{file}: {lines} lines, more than {max}: find the second thing in it and give it a file"
        )
    })
}

fn name(file: &str) -> Option<String> {
    let path = Path::new(file);
    let parts = path.iter().filter_map(|part| part.to_str());
    let stem = |part: &str| part.strip_suffix(".rs").unwrap_or(part).to_owned();
    parts
        .map(stem)
        .find(|stem| EMPTY_NAMES.contains(&stem.as_str()))
        .map(|stem| format!("{file}: `{stem}` says nothing: name it after what it knows"))
}

/// Line numbers from which on a file is only compiled for tests.
fn test_lines(file: &str, text: &str) -> std::ops::Range<usize> {
    let lines = text.lines().count();
    let part_of_tests = Path::new(file)
        .iter()
        .any(|part| part == "tests" || part == "tests.rs");
    let begin = match text.lines().position(|line| line.trim() == "#[cfg(test)]") {
        _ if part_of_tests => 0,
        Some(line) => line,
        None => lines,
    };
    begin..lines
}

/// Words are put together here so that this file does not complain about itself.
fn contains(line: &str, parts: &[&str]) -> bool {
    line.contains(&parts.concat())
}

fn unsafety(file: &str, line: &str) -> Option<String> {
    let opened = ["{", "fn ", "impl ", "extern "]
        .iter()
        .any(|what| contains(line, &["unsafe", " ", what]));
    let allowed = contains(line, &["(unsafe", "_code)"]);
    ((opened || allowed) && file != UNSAFE).then(|| format!("`unsafe` belongs in {UNSAFE}"))
}

fn environment(file: &str, line: &str, test: bool) -> Option<String> {
    let reads = ["var(", "var_os(", "vars(", "vars_os("]
        .iter()
        .any(|what| contains(line, &["env", "::", what]));
    // What developers run is no part of the product.
    let may = file == ENVIRONMENT || test || file.starts_with("xtask/");
    (reads && !may)
        .then(|| format!("only {ENVIRONMENT} reads the environment: take the value as an argument"))
}

fn ignored(line: &str) -> Option<String> {
    contains(line, &["#[ign", "ore]"])
        .then(|| "an ignored test says why: `#[ignore = \"reason\"]`".to_owned())
}

fn front(file: &str, line: &str) -> Option<String> {
    if file.starts_with(FRONTS) {
        let inner = ["crate::store", "crate::control", "hoist_engine"];
        return inner
            .iter()
            .find(|name| line.contains(*name))
            .map(|name| format!("a front calls commands only, not `{name}`"));
    }
    let rack = file.starts_with("crates/hoist-rack/src/") && !MOUNTS.contains(&file);
    (rack && line.contains("crate::compat"))
        .then(|| "nothing but the API's mount knows a front".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str, text: &str) -> Vec<String> {
        complaints(file, &format!("//! Why.\n{text}"))
    }

    #[test]
    fn a_file_without_its_reason_or_with_an_empty_name_is_told() {
        assert_eq!(complaints("src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(told("src/utils.rs", "").len(), 1);
        assert_eq!(told("crates/x/src/common/a.rs", "").len(), 1);
        assert!(told("src/communal.rs", "").is_empty());
    }

    #[test]
    fn a_long_file_is_told() {
        assert_eq!(told("src/a.rs", &"\n".repeat(LINES_MAX)).len(), 1);
        assert!(told("src/a.rs", &"\n".repeat(LINES_MAX - 1)).is_empty());
    }

    #[test]
    fn unsafe_is_in_one_file_only() {
        let line = ["    unsafe", " { x() }\n"].concat();
        assert_eq!(
            told("src/a.rs", &line),
            [format!("src/a.rs:2: `unsafe` belongs in {UNSAFE}")]
        );
        assert!(told(UNSAFE, &line).is_empty());
        assert!(told("src/a.rs", &format!("// {line}")).is_empty());
    }

    #[test]
    fn the_environment_is_read_in_one_file_and_in_tests() {
        let line = ["let a = std::env", "::var(\"A\");\n"].concat();
        assert_eq!(told("src/a.rs", &line).len(), 1);
        assert!(told(ENVIRONMENT, &line).is_empty());
        assert!(told("crates/x/tests/a.rs", &line).is_empty());
        assert!(
            told(
                "src/a.rs",
                &format!("#[cfg(test)]\nmod tests {{\n{line}}}\n")
            )
            .is_empty()
        );
    }

    #[test]
    fn a_test_is_not_ignored_without_a_reason() {
        assert_eq!(told("src/a.rs", &["#[ign", "ore]\n"].concat()).len(), 1);
        assert!(told("src/a.rs", "#[ignore = \"needs a kernel of its own\"]\n").is_empty());
    }

    #[test]
    fn fronts_and_the_rest_do_not_know_each_other() {
        assert_eq!(
            told(
                "crates/hoist-rack/src/compat/convox/apps.rs",
                "use crate::store::Store;\n"
            )
            .len(),
            1
        );
        assert!(
            told(
                "crates/hoist-rack/src/compat/convox/apps.rs",
                "use crate::commands::apps;\n"
            )
            .is_empty()
        );
        assert_eq!(
            told(
                "crates/hoist-rack/src/commands/apps.rs",
                "use crate::compat::convox;\n"
            )
            .len(),
            1
        );
        assert!(
            told(
                "crates/hoist-rack/src/api/mod.rs",
                "use crate::compat::convox;\n"
            )
            .is_empty()
        );
    }
}
