//! Completions: what can stand at the cursor, with names from the rack, and the scripts in real shells.

#[path = "support/samples.rs"]
mod samples;
mod support;

use std::time::{Duration, Instant};

use hoist_cli::Environment;
use samples::{app, release};
use support::{Answer, Rack, json, run_in};

fn answers() -> Vec<(&'static str, Answer)> {
    let list = |item: &str| json(200, format!(r#"{{"items":[{item}],"next":null}}"#));
    let services = r#"{"name":"web","desired":1,"running":1,"ready":1,"url":null,"resize":null}"#;
    let process = r#"{
        "id": "68831d3dce63", "app": "hello", "name": "web", "slot": 1, "status": "ready",
        "release": "RNJYVQUMKKU", "cpu": 0, "memory": 0, "cpu_millicores": 33, "memory_bytes": 1,
        "started": null, "command": "bin/web", "restarts": 0, "last_exit": null, "host": "h"
    }"#;
    vec![
        ("GET /v1/apps", list(&app(None))),
        ("GET /v1/apps/hello/services", list(services)),
        ("GET /v1/apps/hello/releases", list(&release("RABCDEFGHIJ"))),
        ("GET /v1/apps/hello/processes", list(process)),
        (
            "GET /v1/apps/hello/env",
            json(200, r#"{"release":"R","env":{"FOO":null}}"#),
        ),
    ]
}

fn at(environment: &Environment, shell: &str, words: &[&str]) -> Vec<String> {
    let asked: Vec<_> = ["__complete", shell, "--", "hoist"]
        .iter()
        .chain(words)
        .copied()
        .collect();
    let ended = run_in(environment, None, &asked);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{words:?}");
    let words = ended
        .stdout
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default());
    words.map(str::to_owned).collect()
}

#[test]
fn commands_flags_and_names_of_the_rack() {
    let rack = Rack::start(answers());
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/nowhere/hello".into(),
        ..Environment::default()
    };
    let at = |words: &[&str]| at(&environment, "zsh", words);
    assert_eq!(at(&["rel"]), ["releases"]);
    assert_eq!(at(&["releases", "pro"]), ["promote"]);
    assert_eq!(at(&["logs", "--no"]), ["--no-follow"]);
    assert_eq!(
        at(&["logs", "--data"]),
        ["--data-dir"],
        "a flag of every command"
    );
    assert_eq!(at(&["ps", "-a", ""]), ["hello"]);
    assert_eq!(at(&["ps", "--app", "he"]), ["hello"]);
    assert_eq!(at(&["ps", "--app=he"]), ["--app=hello"]);
    assert_eq!(at(&["ps", "--app", "x"]), [""; 0]);
    assert_eq!(at(&["apps", "info", ""]), ["hello"]);
    assert_eq!(
        at(&["apps", "create", ""]),
        [""; 0],
        "a new name is the user's"
    );
    assert_eq!(at(&["logs", "-a", "hello", "-s", ""]), ["web"]);
    assert_eq!(at(&["logs", "-ahello", "-p", ""]), ["68831d3dce63"]);
    assert_eq!(at(&["scale", "-a", "hello", ""]), ["web="]);
    assert_eq!(at(&["restart", "--app=hello", "w"]), ["web"]);
    assert_eq!(at(&["promote", "-a", "hello", "R"]), ["RABCDEFGHIJ"]);
    assert_eq!(
        at(&["promote", "--if-busy", ""]),
        ["wait", "supersede", "refuse"]
    );
    assert_eq!(at(&["env", "unset", "-a", "hello", ""]), ["FOO"]);
    assert_eq!(at(&["env", "set", "-a", "hello", "F"]), ["FOO="]);
    assert_eq!(
        at(&["env", "-a", "hello", "s"]),
        ["set"],
        "commands come behind flags, too"
    );
    assert_eq!(at(&["deploy", ""]), [":dirs"]);
    assert_eq!(at(&["manifest", "validate", ""]), [":files"]);
    assert_eq!(at(&["help", "dep"]), ["deploy"]);
    assert_eq!(at(&["help", "rack", "back"]), ["backup"]);
    assert!(at(&["help", "deploy", ""]).is_empty());
    assert_eq!(at(&["run", "-a", "hello", ""]), ["web"]);
    assert_eq!(at(&["exec", "-a", "hello", "6"]), ["68831d3dce63"]);
    assert_eq!(
        at(&["run", "web", "ls", "-a", ""]),
        [""; 0],
        "its command is its own"
    );
    assert_eq!(at(&["doctor", ""]), [""; 0]);
}

#[test]
fn bash_takes_words_apart_at_equals_signs() {
    let rack = Rack::start(answers());
    let environment = Environment {
        url: Some(rack.url().into()),
        directory: "/nowhere".into(),
        ..Environment::default()
    };
    assert_eq!(at(&environment, "bash", &["ps", "--app", "="]), ["hello"]);
    assert_eq!(
        at(&environment, "bash", &["ps", "--app", "=", "he"]),
        ["hello"]
    );
}

#[test]
fn without_a_rack_there_are_no_names_no_noise_and_no_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = Environment {
        directory: directory.path().to_owned(),
        data_dir: Some(directory.path().into()),
        ..Environment::default()
    };
    assert_eq!(at(&nowhere, "bash", &["ps", "-a", ""]), [""; 0]);
    // One that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let silent = Environment {
        url: Some(format!("http://:t@{address}").into()),
        ..nowhere
    };
    let since = Instant::now();
    assert_eq!(at(&silent, "bash", &["ps", "-a", ""]), [""; 0]);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

/// Runs a shell that has it; `HOIST_SHELLS` lists those that must be there.
fn shell(name: &str, script: &str, input: &str) -> Option<String> {
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("script");
    std::fs::write(&file, script).expect("written");
    let mut command = Command::new(name);
    command.arg(&file).arg(input).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            let wanted = std::env::var("HOIST_SHELLS").unwrap_or_else(|_| "bash".to_owned());
            assert!(
                !wanted.split(',').any(|shell| shell == name),
                "{name}: {error}"
            );
            println!("skipped: {name} is not here");
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    Some(text(&output.stdout))
}

/// A `hoist` that answers as the real one would, and notes what it was asked.
const STAND_IN: &str = r#"
hoist() {
    printf '%s|' "$@" > "$asked"
    printf 'hello\trunning\nweb=\nother\n'
}
asked=$(mktemp)
"#;

#[test]
fn the_script_in_bash() {
    let script = offline_script("bash");
    let test = format!(
        r#"{STAND_IN}
{script}
COMP_WORDS=(hoist ps -a he); COMP_CWORD=3
_hoist
printf '%s,' "${{COMPREPLY[@]}}"; echo; cat "$asked"; rm "$asked"
complete -p hoist
"#
    );
    let said = shell("bash", &test, "").expect("bash is everywhere");
    assert_eq!(
        said,
        "hello,web=,other,\n__complete|bash|--|hoist|ps|-a|he|complete -F _hoist hoist\n"
    );
}

#[test]
fn the_script_in_fish() {
    let test = format!(
        r#"function hoist; printf 'hello\trunning\nother\n'; end
{}
complete -C 'hoist ps -a he'
"#,
        offline_script("fish")
    );
    if let Some(said) = shell("fish", &test, "") {
        assert_eq!(said, "hello\trunning\n");
    }
}

#[test]
fn the_script_in_zsh() {
    let test = format!(
        r#"autoload -U compinit; compinit -u -D
{}
print -r -- $_comps[hoist]
"#,
        offline_script("zsh")
    );
    if let Some(said) = shell("zsh", &test, "") {
        assert_eq!(said, "_hoist\n");
    }
}

fn offline_script(shell: &str) -> String {
    let environment = Environment {
        directory: "/".into(),
        ..Environment::default()
    };
    let ended = run_in(&environment, None, &["completions", shell]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    ended.stdout
}
