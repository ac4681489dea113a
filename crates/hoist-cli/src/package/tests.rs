//! What belongs to a source, and what arrives of it.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use hoist_api::types::SourceEntry;
use proptest::prelude::*;
use tempfile::TempDir;

use super::git::Commit;
use super::*;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    }
    directory
}

fn files_of(directory: &TempDir) -> Vec<String> {
    let source = Source::scan(directory.path(), None, None).expect("a source");
    let files = source
        .paths
        .iter()
        .filter(|path| !directory.path().join(path).is_dir());
    files
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn archive_of(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    Source::scan(directory, None, None)
        .expect("a source")
        .write(&mut bytes)
        .expect("an archive");
    bytes
}

#[test]
fn ignore_files_are_honoured_without_a_repository() {
    let directory = tree(&[
        (".gitignore", "*.log\n/target\n"),
        (".dockerignore", "docs\n.env\n"),
        (".env", ""),
        (".hidden", ""),
        ("a.log", ""),
        ("docs/x.md", ""),
        ("src/docs/y.md", ""),
        ("src/.gitignore", "generated\n"),
        ("src/generated/z", ""),
        ("target/x", ""),
    ]);
    assert_eq!(
        files_of(&directory),
        [
            ".dockerignore",
            ".gitignore",
            ".hidden",
            "src/.gitignore",
            "src/docs/y.md"
        ]
    );
}

#[test]
fn rules_of_the_repository_above_count_and_those_outside_do_not() {
    let directory = tree(&[
        (".gitignore", "*\n"),
        ("repository/.gitignore", "*.log\n"),
        ("repository/.git/HEAD", "ref: refs/heads/main\n"),
        ("repository/app/x.log", ""),
        ("repository/app/x.py", ""),
        ("plain/y.py", ""),
    ]);
    let files = |path: &str| {
        Source::scan(&directory.path().join(path), None, None)
            .expect("a source")
            .paths
    };
    assert_eq!(files("repository/app"), [Path::new("x.py")]);
    assert_eq!(files("plain"), [Path::new("y.py")]);
    assert_eq!(
        files("repository"),
        [".gitignore", "app", "app/x.py"].map(PathBuf::from)
    );
}

#[test]
fn manifests_belong_even_when_ignored_and_directories_come_back() {
    let directory = tree(&[
        (".dockerignore", "*\n!src/main.py\n"),
        ("hoist.yml", ""),
        ("src/main.py", ""),
        ("src/other.py", ""),
        ("x", ""),
    ]);
    assert_eq!(files_of(&directory), ["hoist.yml", "src/main.py"]);
}

#[test]
fn a_data_directory_inside_is_never_uploaded() {
    let directory = tree(&[("app.py", ""), ("data/token", "secret")]);
    let source = Source::scan(directory.path(), None, Some(&directory.path().join("data")))
        .expect("a source");
    assert_eq!(source.paths, [Path::new("app.py")]);
}

#[test]
fn an_archive_is_the_same_each_time_and_keeps_links_and_modes() {
    let long = "long/".repeat(60) + "file";
    let directory = tree(&[("b/run", "#!/bin/sh\n"), ("a", "text"), (&long, "")]);
    let root = directory.path();
    fs::set_permissions(root.join("b/run"), fs::Permissions::from_mode(0o700)).expect("a mode");
    symlink("../a", root.join("b/link")).expect("a link");
    symlink("nowhere", root.join("dangling")).expect("a link");
    UnixListener::bind(root.join("socket")).expect("a socket");
    let source = Source::scan(root, None, None).expect("a source");
    assert_eq!(source.left_out, [Path::new("socket")]);

    let bytes = archive_of(root);
    assert_eq!(bytes, archive_of(root));
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let link = entry
            .link_name()
            .expect("a link")
            .map(|link| link.to_string_lossy().into_owned());
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        entries.insert(path, (entry.header().mode().expect("a mode"), link, text));
    }
    assert_eq!(entries["b/run"], (0o755, None, "#!/bin/sh\n".to_owned()));
    assert_eq!(entries["a"], (0o644, None, "text".to_owned()));
    assert_eq!(entries["b/link"].1.as_deref(), Some("../a"));
    assert_eq!(entries["dangling"].1.as_deref(), Some("nowhere"));
    assert!(entries.contains_key(&long), "{entries:?}");
}

#[test]
fn what_cannot_be_packaged_says_so() {
    let empty = tree(&[(".gitignore", "*\n"), ("x", "")]);
    assert!(matches!(
        Source::scan(empty.path(), None, None),
        Err(PackageError::Empty(_))
    ));
    let file = tree(&[("x", "")]);
    let scan = |path: &Path, manifest| Source::scan(path, manifest, None);
    assert!(matches!(
        scan(&file.path().join("x"), None),
        Err(PackageError::NotADirectory(_))
    ));
    assert!(matches!(
        scan(&file.path().join("y"), None),
        Err(PackageError::Read { .. })
    ));
    assert!(matches!(
        scan(file.path(), Some("other.yml")),
        Err(PackageError::NoManifest { .. })
    ));
}

#[test]
fn a_file_that_shrinks_meanwhile_ends_the_upload() {
    let directory = tree(&[("x", "text")]);
    let file = File::open(directory.path().join("x")).expect("a file");
    let mut exactly = Exactly { file, left: 100 };
    let error = exactly.read_to_end(&mut Vec::new()).expect_err("too short");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn pieces_make_up_the_archive() {
    let text = "0123456789".repeat(50_000);
    let directory = tree(&[("big", &text), ("small", "x")]);
    let mut pieces = Source::scan(directory.path(), None, None)
        .expect("a source")
        .send()
        .pieces;
    let mut bytes = Vec::new();
    let mut count = 0;
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece.expect("a piece"));
        count += 1;
    }
    assert!(count > 3);
    assert_eq!(bytes, archive_of(directory.path()));
}

#[tokio::test]
async fn a_file_that_vanishes_is_the_last_piece() {
    let directory = tree(&[("a", "x"), ("b", "y")]);
    let source = Source::scan(directory.path(), None, None).expect("a source");
    fs::remove_file(directory.path().join("b")).expect("removed");
    let mut pieces = source.send().pieces;
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    assert!(matches!(last, Some(Err(_))));
}

#[test]
fn the_commit_of_a_clean_tree_and_no_other() {
    let directory = tree(&[
        ("app/x", "1"),
        ("other", "1"),
        (".gitignore", "ignored\n"),
        ("ignored/y", ""),
    ]);
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .current_dir(directory.path())
            .args([
                "-c",
                "user.name=x",
                "-c",
                "user.email=x@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .output()
            .expect("git is installed");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    };
    assert_eq!(commit_of(directory.path()), None, "no repository");
    git(&["init", "-q"]);
    assert_eq!(commit_of(directory.path()), None, "no commit");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first: \"quoted\"\n\nbody"]);
    let sha = git(&["rev-parse", "HEAD"]).trim().to_owned();
    let clean = Some(Commit {
        sha,
        subject: "first: \"quoted\"".to_owned(),
    });
    assert_eq!(commit_of(directory.path()), clean);
    fs::write(directory.path().join("other"), "2").expect("written");
    assert_eq!(commit_of(directory.path()), None, "changed");
    assert_eq!(
        commit_of(&directory.path().join("app")),
        clean,
        "changed elsewhere"
    );
    assert_eq!(
        commit_of(&directory.path().join("ignored")),
        None,
        "not of the repository"
    );
    fs::write(directory.path().join("app/new"), "").expect("written");
    assert_eq!(commit_of(&directory.path().join("app")), None, "untracked");
}

#[test]
fn a_list_says_what_an_archive_holds() {
    let directory = tree(&[("b/run", "#!/bin/sh\n"), ("a", "same"), ("c", "same")]);
    let root = directory.path();
    fs::set_permissions(root.join("b/run"), fs::Permissions::from_mode(0o700)).expect("a mode");
    symlink("../a", root.join("b/link")).expect("a link");
    let source = Source::scan(root, None, None).expect("a source");
    let listing = Listing::of(&source).expect("read").expect("all is text");
    // SHA-256 of `same`.
    let same = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5";
    let file = |path: &str, size, sha256: &str, executable| SourceEntry::File {
        path: path.to_owned(),
        size,
        sha256: sha256.to_owned(),
        executable,
    };
    assert_eq!(listing.entries[0], file("a", 4, same, false));
    assert_eq!(listing.entries.len(), 5);
    assert!(matches!(&listing.entries[1], SourceEntry::Directory { path } if path == "b"));
    assert!(
        matches!(&listing.entries[2], SourceEntry::Link { path, target } if path == "b/link" && target == "../a")
    );
    assert!(matches!(
        &listing.entries[3],
        SourceEntry::File {
            executable: true,
            ..
        }
    ));
    assert_eq!(listing.len(), 2, "the same content is one");
    let parts = listing.parts(&[same.to_owned(), "of nothing here".to_owned()]);
    assert_eq!((parts.files.len(), parts.bytes()), (1, 4));
    let mut sent = Vec::new();
    parts.write(&mut sent).expect("an archive");
    let mut archive = tar::Archive::new(&sent[..]);
    let names: Vec<_> = archive
        .entries()
        .expect("an archive")
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .expect("a path")
                .into_owned()
        })
        .collect();
    assert_eq!(names, [Path::new(same)]);
}

#[test]
fn a_file_that_changes_after_it_was_listed_is_not_sent() {
    for later in ["fresh", "", "one more"] {
        let directory = tree(&[("a", "older")]);
        let source = Source::scan(directory.path(), None, None).expect("a source");
        let listing = Listing::of(&source).expect("read").expect("all is text");
        let all: Vec<String> = listing.contents.keys().cloned().collect();
        fs::write(directory.path().join("a"), later).expect("written");
        let sent = listing.parts(&all).write(Vec::new());
        assert!(
            matches!(sent, Err(PackageError::Changed(_))),
            "{later}: {sent:?}"
        );
    }
}

#[test]
fn names_that_are_no_text_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tree(&[("a", "x")]);
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    fs::write(directory.path().join(name), "x").expect("written");
    let source = Source::scan(directory.path(), None, None).expect("a source");
    assert!(Listing::of(&source).expect("read").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_ignore_file_is_answered(text in "[*!/a-c.#\\[\\]\\\\\n{} -]{0,40}") {
        let directory = tree(&[(".dockerignore", &text), ("a/b", ""), ("c", "")]);
        let _ = Source::scan(directory.path(), None, None);
    }
}
