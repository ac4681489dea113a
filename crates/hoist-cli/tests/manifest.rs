//! `hoist manifest`: no rack is asked, unless a release is named.

#[path = "support/samples.rs"]
mod samples;
mod support;

use hoist_cli::Environment;
use samples::release;
use support::{Ended, Rack, ended, hoist, json, run_in};

/// Runs in a directory that has these files.
fn with(files: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let environment = Environment {
        directory: directory.path().to_owned(),
        data_dir: Some("/nowhere".into()),
        ..Environment::default()
    };
    run_in(&environment, None, arguments)
}

const GOOD: &str =
    "services:\n  web:\n    command: ./serve\n    port: 3000\n  worker:\n    command: [./work]\n";
const TYPO: &str = "services:\n  web:\n    command: ./serve\n    prot: 3000\n";
const BAD: &str = "services:\n  web:\n    command: ./serve\n    port: [1]\n";

#[test]
fn a_manifest_that_is_right() {
    let validate = &["manifest", "validate"];
    let said = ended(0, "hoist.yml is valid: web, worker\n", "");
    assert_eq!(with(&[("hoist.yml", GOOD)], validate), said);
    let procfile = [("Procfile", "web: ./serve\n")];
    assert_eq!(
        with(&procfile, validate),
        ended(0, "Procfile is valid: web\n", "")
    );
    let named = with(
        &[("other.yml", GOOD)],
        &["manifest", "validate", "other.yml"],
    );
    assert_eq!(named, ended(0, "other.yml is valid: web, worker\n", ""));
}

#[test]
fn variables_take_their_defaults() {
    let manifest = "services:\n  web:\n    command: ./serve\n    port: ${PORT:-3000}\n";
    let file = [("hoist.yml", manifest)];
    let said = ended(0, "hoist.yml is valid: web\n", "");
    assert_eq!(with(&file, &["manifest", "validate"]), said);
    let shown = with(&file, &["manifest", "show"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert!(shown.stdout.contains("3000"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("PORT"), "{}", shown.stdout);
    let manifest =
        "services:\n  web:\n    command: ./serve\n    environment:\n      - KIND=${KIND}\n";
    let warned = with(&[("hoist.yml", manifest)], &["manifest", "validate"]);
    assert_eq!(warned.code, 0, "{}", warned.stderr);
    let warning = "`KIND` is not set and has no default";
    assert!(warned.stderr.contains(warning), "{}", warned.stderr);
}

#[test]
fn what_is_not_acted_on_is_warned_of_with_its_line() {
    let stderr = "\
WARNING: hoist.yml:4: `prot` is ignored: service `web` has no such key, did you mean `port`?
";
    let said = ended(0, "hoist.yml is valid, with 1 warning: web\n", stderr);
    assert_eq!(
        with(&[("hoist.yml", TYPO)], &["manifest", "validate"]),
        said
    );
    let said = with(&[("hoist.yml", TYPO)], &["manifest", "validate", "--json"]);
    let data: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert_eq!(
        (&data["valid"], &data["warnings"][0]["line"]),
        (&true.into(), &4.into())
    );
}

#[test]
fn what_is_wrong_has_its_line_and_exit_code_1() {
    let said = with(&[("hoist.yml", BAD)], &["manifest", "validate"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.starts_with("ERROR: hoist.yml:4:"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("port: [1]\n"),
        "the line is shown: {}",
        said.stderr
    );
    assert!(said.stderr.contains("\nhint: "), "{}", said.stderr);
    let said = with(&[("hoist.yml", BAD)], &["manifest", "validate", "--json"]);
    let data: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(said.code, 1);
    assert_eq!(
        (&data["valid"], &data["error"]["line"]),
        (&false.into(), &4.into())
    );
}

#[test]
fn none_unreadable_and_not_text() {
    for (files, arguments, words) in [
        (
            &[][..],
            &["manifest", "validate"][..],
            "no manifest: none of hoist.yml, convox.yml and Procfile",
        ),
        (
            &[],
            &["manifest", "validate", "nowhere"],
            "cannot read nowhere: ",
        ),
    ] {
        let said = with(files, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert!(said.stderr.contains("\nhint: "), "{}", said.stderr);
    }
}

#[test]
fn what_is_shown_has_every_default() {
    let said = with(&[("hoist.yml", GOOD)], &["manifest", "show"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    for words in [
        "startup: 2m\n",
        "drain: 30s\n",
        "count: 1\n",
        "interval: 5s\n",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let again = with(&[("hoist.yml", &said.stdout)], &["manifest", "show"]);
    assert_eq!(again, said, "what is shown is a manifest");
}

#[test]
fn the_manifest_of_a_release() {
    let text = GOOD.replace('\n', "\\n");
    let with_it = release("RABCDEFGHIJ").replacen('{', &format!("{{\"manifest\":\"{text}\","), 1);
    let rack = Rack::start(vec![
        (
            "GET /v1/apps/hello/releases/RABCDEFGHIJ",
            json(200, with_it),
        ),
        (
            "GET /v1/apps/hello/releases/REMPTY",
            json(200, release("REMPTY")),
        ),
    ]);
    let shown = hoist(
        &rack,
        &[
            "manifest",
            "show",
            "--release",
            "RABCDEFGHIJ",
            "-a",
            "hello",
        ],
    );
    assert_eq!(
        shown,
        ended(
            0,
            &with(&[("hoist.yml", GOOD)], &["manifest", "show"]).stdout,
            ""
        )
    );
    let said = "\
ERROR: REMPTY has no manifest: nothing was built for it
hint: `hoist releases -a hello` shows which releases have a build
";
    assert_eq!(
        hoist(
            &rack,
            &["manifest", "show", "--release", "REMPTY", "-a", "hello"]
        ),
        ended(1, "", said)
    );
}
