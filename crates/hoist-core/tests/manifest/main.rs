//! The manifest reader against a corpus of files that say what is expected of them, and against what users may write.
#![allow(clippy::unwrap_used, reason = "tests")]

mod random;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hoist_core::id::{BuildId, ReleaseId, ServiceName};
use hoist_core::manifest::{
    self, Check, CommandLine, Dialect, EnvRule, Health, Manifest, ManifestError, Port, Scheme,
    Service, Volume, Warning,
};
use hoist_core::model::{Fingerprint, Millis, Strategy as Rollout};

/// Files of the corpus by name. Comment lines `# error:` and `# warning:` hold beginnings of what must be said, and
/// nothing else may be said.
fn corpus() -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/manifest");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn dialect(name: &str) -> Dialect {
    match name.split_once('.').unwrap().1 {
        "hoist.yml" => Dialect::Hoist,
        "convox.yml" => Dialect::Convox,
        "Procfile" => Dialect::Procfile,
        other => panic!("{other}"),
    }
}

fn expected(text: &str, word: &str) -> Vec<String> {
    let mark = format!("# {word}: ");
    text.lines()
        .filter_map(|line| line.strip_prefix(&mark))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_file_of_the_corpus_says_what_it_says_it_does() {
    let corpus = corpus();
    assert!(corpus.len() > 20, "only {} files", corpus.len());
    for (name, text) in &corpus {
        let (errors, warnings) = (expected(text, "error"), expected(text, "warning"));
        assert_eq!(
            name.starts_with("bad-"),
            !errors.is_empty(),
            "{name}: bad files expect an error, others none"
        );
        match manifest::read(dialect(name), name, text) {
            Ok((_, found)) => {
                assert!(errors.is_empty(), "{name}: read, but should say {errors:?}");
                let found: Vec<String> = found.iter().map(Warning::to_string).collect();
                assert_eq!(found.len(), warnings.len(), "{name}: {found:#?}");
                for (found, expected) in found.iter().zip(&warnings) {
                    assert!(
                        found.starts_with(expected.as_str()),
                        "{name}: {found}\nshould begin: {expected}"
                    );
                }
            }
            Err(error) => {
                assert!(!errors.is_empty(), "{name}: {error}");
                let found = error.to_string();
                assert!(
                    found.starts_with(errors[0].as_str()),
                    "{name}: {found}\nshould begin: {}",
                    errors[0]
                );
            }
        }
    }
}

#[test]
fn every_example_is_an_app_whose_manifest_reads_without_a_warning() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.parse::<hoist_core::id::AppName>().unwrap();
            let files = Dialect::ALL.map(Dialect::file_name).into_iter();
            let present = files.filter(|file| path.join(file).is_file());
            let dialect = manifest::choose(present).unwrap();
            let text = std::fs::read_to_string(path.join(dialect.file_name())).unwrap();
            let (mut manifest, mut warnings) = manifest::read(dialect, name, &text).unwrap();
            if let Ok(text) = std::fs::read_to_string(path.join(manifest::APP_JSON)) {
                warnings.extend(manifest::read_app_json(&text, &mut manifest).unwrap());
            }
            assert_eq!(warnings, [], "{name}");
            assert!(path.join("README.md").is_file(), "{name}");
            count += 1;
        }
    }
    assert!(count >= 6, "only {count} examples");
}

fn read_good(name: &str) -> Manifest {
    manifest::read(dialect(name), name, &corpus()[name])
        .unwrap()
        .0
}

fn shell(line: &str) -> Option<CommandLine> {
    Some(CommandLine::Shell(line.to_owned()))
}

fn words(words: &[&str]) -> Option<CommandLine> {
    Some(CommandLine::Words(
        words.iter().map(|word| (*word).to_owned()).collect(),
    ))
}

fn default(name: &str, value: &str) -> EnvRule {
    EnvRule::Default(name.to_owned(), value.to_owned())
}

#[test]
fn every_key_is_read_into_its_place() {
    let manifest = read_good("good.hoist.yml");
    assert_eq!(manifest.build.command, shell("make public"));
    assert_eq!(
        manifest.release_command,
        shell("bin/migrate && echo \"${DONE}\"")
    );
    let shared = [
        default("LOG_LEVEL", "info"),
        EnvRule::Required("DATABASE_URL".to_owned()),
    ];
    let web = Service {
        command: shell("./serve --port ${PORT}"),
        port: Some(Port {
            number: Some(3000),
            scheme: Scheme::Http,
        }),
        domains: ["www.example.com", "shop.example.com", "example.org"]
            .map(str::to_owned)
            .to_vec(),
        health: Health {
            check: Check::Path("/health".to_owned()),
            interval: Millis(2_000),
            timeout: Millis(500),
        },
        start_limit: Millis(20_000),
        count: 2,
        cpu_millicores: 500,
        memory_bytes: 256 << 20,
        timeout: Millis(120_000),
        drain_limit: Millis(5_000),
        stop_grace: Millis(10_000),
        environment: shared
            .iter()
            .cloned()
            .chain([default("PUBLIC", "yes")])
            .collect(),
        ..Service::default()
    };
    let queue = Service {
        command: words(&["python3", "-m", "queue", "two words"]),
        start_limit: Millis(90_000),
        health: Health {
            check: Check::Command(CommandLine::Shell("test -e /tmp/ready".to_owned())),
            ..Health::default()
        },
        strategy: Rollout::Replace,
        count: 0,
        volumes: vec![
            Volume {
                name: "data".to_owned(),
                path: "/var/data".to_owned(),
                exclusive: false,
            },
            Volume {
                name: "index".to_owned(),
                path: "/index".to_owned(),
                exclusive: true,
            },
        ],
        internal: true,
        environment: shared.to_vec(),
        ..Service::default()
    };
    assert_eq!(
        manifest.services,
        [
            ("web".parse().unwrap(), web),
            ("queue".parse::<ServiceName>().unwrap(), queue)
        ]
    );
}

#[test]
fn checks_are_read_with_their_defaults() {
    let read = read_good("liveness.hoist.yml");
    let of = |name: &str| read.service(&name.parse().unwrap()).unwrap().clone();
    let (web, probed) = (of("web"), of("probed"));
    let live = web.liveness.unwrap();
    assert_eq!(live.check, Check::Path("/live".to_owned()));
    assert_eq!(
        (live.grace, live.interval, live.timeout),
        (Millis(0), Millis(3_000), Millis(1_000))
    );
    assert_eq!((live.failures, live.successes), (5, 2));
    let startup = web.startup.unwrap();
    assert_eq!(startup.check, Check::Path("/started".to_owned()));
    assert_eq!(
        (startup.interval, web.start_limit),
        (Some(Millis(2_000)), Millis(300_000))
    );
    let live = probed.liveness.unwrap();
    assert_eq!(
        (live.grace, live.failures, live.successes),
        (Millis(10_000), 3, 1)
    );
    // Thirty seconds, and eighteen times ten.
    assert_eq!(probed.start_limit, Millis(210_000));
    assert_eq!(probed.startup.unwrap().check, Check::Disabled);
    assert_eq!((of("worker").liveness, of("idle").liveness), (None, None));
}

#[test]
fn a_convox_command_is_words_and_its_grace_never_shortens_the_start() {
    let web = read_good("good.convox.yml")
        .service_named("web")
        .unwrap()
        .clone();
    assert_eq!(web.command, words(&["bin/web", "-p", "3000", "a b"]));
    let text = |grace: u32| {
        format!("services: {{web: {{command: a, port: 1, health: {{grace: {grace}}}}}}}")
    };
    let limit = |dialect, grace| {
        let (manifest, _) = manifest::read(dialect, "m", &text(grace)).unwrap();
        manifest.services[0].1.start_limit
    };
    assert_eq!(limit(Dialect::Convox, 5), Millis(120_000));
    assert_eq!(limit(Dialect::Convox, 300), Millis(300_000));
    assert_eq!(limit(Dialect::Hoist, 5), Millis(5_000));
}

#[test]
fn merged_keys_and_words_that_yaml_takes_for_booleans_stay_what_was_written() {
    let web = read_good("merge.hoist.yml")
        .service_named("web")
        .unwrap()
        .clone();
    assert_eq!((web.count, web.command), (3, shell("yes")));
    assert_eq!(web.environment, [default("A", "1"), default("B", "2")]);
}

#[test]
fn what_must_not_run_twice_is_replaced() {
    let strategy = |keys: &str| {
        let text = format!("services: {{web: {{command: a, {keys}}}}}");
        let (manifest, warnings) = manifest::read(Dialect::Hoist, "m", &text).unwrap();
        (manifest.services[0].1.strategy, warnings.len())
    };
    assert_eq!(strategy("port: 1"), (Rollout::Surge, 0));
    assert_eq!(strategy("singleton: true"), (Rollout::Replace, 0));
    assert_eq!(
        strategy("deployment: {minimum: 0, maximum: 100}"),
        (Rollout::Replace, 0)
    );
    assert_eq!(strategy("deployment: {maximum: 150}"), (Rollout::Surge, 1));
    assert_eq!(
        strategy("volumes: [{name: a, path: /a, exclusive: true}]"),
        (Rollout::Replace, 0)
    );
    assert_eq!(strategy("volumes: ['a:/a']"), (Rollout::Surge, 0));
}

#[test]
fn variables_are_replaced_in_values_but_never_change_the_structure() {
    let text = "services:\n  web:\n    command: echo ${PORT}\n    port: 80\n    domain: ${HOST}\n    scale: ${COUNT:-2}\n";
    let read = |host: &str| {
        let variables = BTreeMap::from([("HOST".to_owned(), host.to_owned())]);
        manifest::read_with(Dialect::Hoist, "hoist.yml", text, &variables)
    };
    let (manifest, warnings) = read("a.example").unwrap();
    let web = &manifest.services[0].1;
    assert_eq!(
        (web.domains.as_slice(), web.count),
        (&["a.example".to_owned()][..], 2)
    );
    assert_eq!(
        (web.command.clone(), warnings),
        (shell("echo ${PORT}"), vec![])
    );
    let error = read("a\n    privileged: true").unwrap_err();
    assert_eq!(error.line(), Some(5), "{error}");
}

#[test]
fn an_error_shows_its_line_with_a_mark() {
    let text = "services:\n  web:\n    command: a\n    port: no\n";
    let error = manifest::read(Dialect::Hoist, "hoist.yml", text).unwrap_err();
    assert_eq!(error.snippet(), Some("4 |     port: no\n  |           ^"));
}

#[test]
fn a_file_that_is_too_large_is_not_parsed() {
    let text = "#".repeat(manifest::MANIFEST_BYTES_MAX + 1);
    let error = manifest::read(Dialect::Hoist, "hoist.yml", &text).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { .. }) && error.hint().is_some());
}

#[test]
fn a_release_for_the_planner_has_every_service() {
    let manifest = read_good("good.hoist.yml");
    let (id, build) = (
        ReleaseId::from_random([1; 16]),
        BuildId::from_random([2; 16]),
    );
    let mut prints =
        BTreeMap::from([("web".parse::<ServiceName>().unwrap(), Fingerprint([1; 32]))]);
    let missing = manifest::to_release(&manifest, id.clone(), build.clone(), &prints).unwrap_err();
    assert_eq!(missing.to_string(), "no fingerprint for service `queue`");
    prints.insert("queue".parse().unwrap(), Fingerprint([2; 32]));
    let release = manifest::to_release(&manifest, id, build, &prints).unwrap();
    assert!(release.has_release_command);
    let shape: Vec<_> = release
        .services
        .values()
        .map(|s| (s.routed, s.strategy, s.count, s.fingerprint.0[0]))
        .collect();
    assert_eq!(
        shape,
        [
            (false, Rollout::Replace, 0, 2),
            (true, Rollout::Surge, 2, 1)
        ]
    );
}
