//! The commit of a clean working tree, asked of `git` itself.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) subject: String,
}

/// The commit that the directory is at; none when it differs from it, is in no repository, or there is no `git`. A
/// description that may be wrong is worse than none, so every doubt means none.
pub(crate) fn commit_of(directory: &Path) -> Option<Commit> {
    directory
        .ancestors()
        .find(|directory| directory.join(".git").exists())?;
    let changes = git(
        directory,
        [
            "status",
            "--porcelain",
            "--untracked-files=normal",
            "--",
            ".",
        ],
    )?;
    if !changes.is_empty() {
        return None;
    }
    // A directory that the repository ignores has no changes and is not of the commit either.
    git(directory, ["ls-files", "--", "."]).filter(|files| !files.is_empty())?;
    let head = git(directory, ["log", "-1", "--format=%H%n%s"])?;
    let (sha, subject) = head
        .trim_end()
        .split_once('\n')
        .unwrap_or((head.trim_end(), ""));
    let well_formed = sha.len() >= 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| Commit {
        sha: sha.to_owned(),
        subject: subject.to_owned(),
    })
}

fn git<const N: usize>(directory: &Path, arguments: [&str; N]) -> Option<String> {
    let arguments = arguments.iter().map(OsStr::new);
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .arg("--no-optional-locks")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
