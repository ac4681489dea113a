//! Help, and what is said to those who typed something else than what there is.

#[path = "support/samples.rs"]
mod samples;
mod support;

use hoist_cli::Environment;
use samples::{app, release};
use support::{Ended, Rack, ended, hoist, json, run_in};

fn offline(arguments: &[&str]) -> Ended {
    let environment = Environment {
        directory: "/nowhere/hello".into(),
        data_dir: Some("/nowhere/data".into()),
        ..Environment::default()
    };
    run_in(&environment, None, arguments)
}

#[test]
fn help_groups_the_commands() {
    let shown = offline(&["help"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert_eq!(offline(&[]), shown, "`hoist` alone");
    assert_eq!(offline(&["--help"]), shown);
    for group in [
        "\nDeploy:\n  up ",
        "\nLook:\n  apps ",
        "\nChange:\n  env ",
        "\nRack:\n  rack ",
    ] {
        assert!(shown.stdout.contains(group), "{group:?}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("__complete"), "{}", shown.stdout);
}

#[test]
fn help_of_a_command_has_examples_either_way() {
    let shown = offline(&["env", "set", "--help"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let examples = "\
Examples:
  hoist env set A=1 B=2                one new release, not live yet
  hoist env set A=1 --promote          and live
  hoist env set --file .env            all of a file
  hoist env set --replace --file .env  and remove what is not in it
";
    assert!(shown.stdout.ends_with(examples), "{}", shown.stdout);
    assert_eq!(offline(&["help", "env", "set"]), shown);
}

/// What is typed, and the two lines that are said.
const MISTYPED: &[(&[&str], &str, &str)] = &[
    (
        &["relaeses"],
        "there is no command `hoist relaeses`",
        "did you mean `hoist releases`?",
    ),
    (
        &["frobnicate"],
        "there is no command `hoist frobnicate`",
        "`hoist help` lists the commands",
    ),
    (
        &["help", "deplyo"],
        "there is no command `hoist deplyo`",
        "did you mean `hoist deploy`?",
    ),
    (
        &["apps", "creat", "x"],
        "there is no command `hoist apps creat`",
        "did you mean `hoist apps create`?",
    ),
    (
        &["apps", "frobnicate"],
        "there is no command `hoist apps frobnicate`",
        "`hoist apps` has create, info, cancel, export, import, delete, params",
    ),
    (
        &["manifest"],
        "`hoist manifest` wants a command: validate, show",
        "`hoist manifest --help` shows what it takes",
    ),
    (
        &["config"],
        "there is no command `hoist config`",
        "here that is `hoist env`",
    ),
    (
        &["ps:scale", "web=2"],
        "there is no command `hoist ps:scale`",
        "here that is `hoist scale web=2`",
    ),
    (
        &["config:set", "A=1"],
        "there is no command `hoist config:set`",
        "here that is `hoist env set`",
    ),
    (
        &["apps:create", "x"],
        "there is no command `hoist apps:create`",
        "here that is `hoist apps create`",
    ),
    (
        &["apps", "destroy", "x"],
        "there is no command `hoist apps destroy`",
        "here that is `hoist apps delete NAME`",
    ),
    (
        &["deploy", "--ap", "x"],
        "`hoist deploy` has no flag `--ap`",
        "did you mean `--app`?",
    ),
    (
        &["doctor", "x"],
        "`hoist doctor` does not take `x`",
        "`hoist doctor --help` shows what it takes",
    ),
    (
        &["apps", "create"],
        "`hoist apps create` needs <NAME>",
        "usage: `hoist apps create <NAME>`",
    ),
    (
        &["promote", "--if-busy", "wiat"],
        "`--if-busy <WHAT>` does not take `wiat`",
        "did you mean `wait`?",
    ),
    (
        &["promote", "--if-busy", "x"],
        "`--if-busy <WHAT>` does not take `x`",
        "it takes one of wait, supersede, refuse",
    ),
    (
        &["logs", "--since", "soon"],
        "`--since <TIME>` does not take `soon`",
        "write a number with s, m, h or d, as 10m",
    ),
    (
        &["logs", "-f", "--no-follow"],
        "`--follow` and `--no-follow` do not go together",
        "`hoist logs --help` shows what it takes",
    ),
];

#[test]
fn what_is_mistyped_is_named_with_what_was_meant() {
    for (arguments, message, hint) in MISTYPED {
        let said = format!("ERROR: {message}\nhint: {hint}\n");
        assert_eq!(offline(arguments), ended(2, "", &said), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_as_json_has_the_shape_of_errors() {
    let said = offline(&["relaeses", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("JSON");
    assert_eq!(
        (said.code, &error["code"], &error["hint"]),
        (2, &"usage".into(), &"did you mean `hoist releases`?".into())
    );
}

fn refusal(code: &str, message: &str) -> support::Answer {
    let body = format!(r#"{{"code":"{code}","message":"{message}","hint":null,"request_id":"1"}}"#);
    json(404, body)
}

#[test]
fn names_that_the_rack_does_not_know_get_the_nearest() {
    let apps = format!(r#"{{"items":[{}],"next":null}}"#, app(None));
    let releases = format!(r#"{{"items":[{}],"next":null}}"#, release("RABCDEFGHIJ"));
    let no_app = "there is no app `helo`";
    let no_release = "app `hello` has no release RABCDEFGHJJ";
    let rack = Rack::start(vec![
        (
            "GET /v1/apps/helo/processes",
            refusal("app_not_found", no_app),
        ),
        ("GET /v1/apps", json(200, apps)),
        (
            "GET /v1/apps/hello/releases/RABCDEFGHJJ",
            refusal("release_not_found", no_release),
        ),
        ("GET /v1/apps/hello/releases", json(200, releases)),
    ]);
    let said = format!("ERROR: {no_app}\nhint: did you mean `hello`?\n");
    assert_eq!(hoist(&rack, &["ps", "-a", "helo"]), ended(1, "", &said));
    let said = format!("ERROR: {no_release}\nhint: did you mean `RABCDEFGHIJ`?\n");
    assert_eq!(
        hoist(&rack, &["releases", "info", "RABCDEFGHJJ", "-a", "hello"]),
        ended(1, "", &said)
    );
}

#[test]
fn open_prints_the_address_and_says_why_it_opens_nothing() {
    let served = app(Some("RAAAAAAAAAA")).replacen(
        '{',
        r#"{"urls":{"web":"http://hello.localhost:8080","admin":"http://admin.hello.localhost:8080"},"#,
        1,
    );
    let rack = Rack::start(vec![("GET /v1/apps/hello", json(200, served))]);
    let url = "http://hello.localhost:8080\n";
    let note = "there is no display: open the address yourself\n";
    assert_eq!(hoist(&rack, &["open", "-a", "hello"]), ended(0, url, note));
    assert_eq!(
        hoist(&rack, &["open", "-a", "hello", "--print"]),
        ended(0, url, "")
    );
    let admin = "http://admin.hello.localhost:8080\n";
    assert_eq!(
        hoist(&rack, &["open", "admin", "-a", "hello", "--print"]),
        ended(0, admin, "")
    );
    let said = "\
ERROR: hello has no service `wbe` with an address
hint: reached from outside: admin, web
";
    assert_eq!(
        hoist(&rack, &["open", "wbe", "-a", "hello"]),
        ended(1, "", said)
    );
}

#[test]
fn open_starts_the_browser_that_is_named() {
    let rack = Rack::start(vec![(
        "GET /v1/apps/hello",
        json(200, app(Some("RAAAAAAAAAA"))),
    )]);
    let directory = tempfile::tempdir().expect("a directory");
    let (browser, seen) = (
        directory.path().join("browser"),
        directory.path().join("seen"),
    );
    let script = format!(
        "#!/bin/sh\necho \"$1\" > {0}.new && mv {0}.new {0}\n",
        seen.display()
    );
    std::fs::write(&browser, script).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&browser, executable).expect("executable");
    let mut environment = Environment {
        url: Some(rack.url().into()),
        directory: "/".into(),
        browser: Some(browser.into()),
        ..Environment::default()
    };
    let url = "http://hello.localhost:8080\n";
    let arguments = ["open", "-a", "hello"];
    assert_eq!(run_in(&environment, None, &arguments), ended(0, url, ""));
    let opened = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::fs::read_to_string(&seen).ok()
    });
    assert_eq!(opened.as_deref(), Some(url));
    environment.browser = Some("/nowhere/firefox".into());
    let said = run_in(&environment, None, &arguments);
    assert_eq!((said.code, said.stdout.as_str()), (0, url));
    assert!(
        said.stderr.starts_with("/nowhere/firefox does not start ("),
        "{}",
        said.stderr
    );
}

#[test]
fn manual_pages_are_one_per_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_string_lossy().into_owned();
    let written = offline(&["man", &path]);
    assert_eq!((written.code, written.stdout.as_str()), (0, ""));
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
    let first = page("hoist.1");
    for words in [
        ".SH NAME\nhoist",
        ".SH \"EXIT STATUS\"",
        "HOIST_URL",
        "hoist\\-deploy(1)",
    ] {
        assert!(first.contains(words), "{words}: {first}");
    }
    assert!(page("hoist-env-set.1").contains(".SH EXAMPLES"));
    assert!(!directory.path().join("hoist-__complete.1").exists());
    assert_eq!(offline(&["man"]).stdout, first);
}
