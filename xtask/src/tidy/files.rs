//! Rules about files as text. Those of Rust sources are in `rust`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::rust;

/// Folders that are looked at. What is built and what git keeps is not.
const FOLDERS: &[&str] = &[
    ".cargo", ".ci", "crates", "docs", "examples", "src", "tests", "xtask",
];
/// Endings of files that people write.
const ENDINGS: &[&str] = &[
    "rs", "md", "toml", "yml", "json", "py", "sh", "css", "html", "sql",
];
/// Texts that are as they are because a test is about that.
const VERBATIM: &[&str] = &["/tests/corpus/", "/snapshots/", "/golden/"];

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    for path in files {
        let shown = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        if !ENDINGS.contains(&ending) || VERBATIM.iter().any(|part| shown.contains(part)) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        if ending == "rs" {
            // The formatter minds white space there; what it leaves stands inside of texts, and is meant.
            found.extend(rust::complaints(&shown, &text));
        } else {
            found.extend(white_space(&shown, &text));
        }
    }
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.file_name() != "target" {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn white_space(file: &str, text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with([' ', '\t']))
        .map(|(index, _)| format!("{file}:{}: white space at the end of the line", index + 1))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(format!("{file}: the last line does not end"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_the_end_is_told_with_its_line() {
        assert_eq!(
            white_space("a", "x\ny \nz"),
            [
                "a:2: white space at the end of the line",
                "a: the last line does not end"
            ]
        );
        assert!(white_space("a", "x\n\ny\n").is_empty());
    }
}
