//! The manifest reader against a corpus of files that say what is expected of them, against texts made from these at
//! random, and against itself: what is written from values reads back as the same values.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use hoist_core::id::{BuildId, ReleaseId, ServiceName};
use hoist_core::manifest::{
    self, Check, CommandLine, Dialect, EnvRule, Health, Manifest, ManifestError, Port, Scheme,
    Service, Volume, Warning,
};
use hoist_core::model::{Fingerprint, Millis, Strategy as Rollout};
use proptest::prelude::*;

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

/// What holds for any text: no panic, the same twice, and an error that says where or is about the whole file.
fn holds_for(dialect: Dialect, text: &str) -> Result<(), TestCaseError> {
    let first = manifest::read(dialect, "m.yml", text);
    prop_assert_eq!(&first, &manifest::read(dialect, "m.yml", text));
    let lines = u32::try_from(text.lines().count()).unwrap();
    match first {
        Ok((manifest, warnings)) => {
            prop_assert!(!manifest.services.is_empty());
            for (_, service) in &manifest.services {
                prop_assert!(service.command.is_some() || service.image.is_some());
                prop_assert!(
                    service.timeout.0 > 0
                        && service.start_limit.0 > 0
                        && service.health.interval.0 > 0
                );
            }
            for warning in warnings {
                prop_assert!(
                    warning
                        .line
                        .is_none_or(|line| (1..=lines.max(1)).contains(&line)),
                    "{}",
                    warning
                );
            }
        }
        Err(error) => {
            let told = error.to_string();
            prop_assert!(!told.chars().any(char::is_control), "{:?}", told);
            match error.line() {
                Some(line) => prop_assert!((1..=lines + 1).contains(&line), "{}", told),
                None => prop_assert!(
                    ["the file is empty", "no `services`", "no services"]
                        .iter()
                        .any(|part| told.contains(part))
                        || matches!(
                            error,
                            ManifestError::Syntax { .. } | ManifestError::TooLarge { .. }
                        ),
                    "no line, and no reason for that: {}",
                    told
                ),
            }
        }
    }
    Ok(())
}

/// A text of the corpus with pieces cut out, doubled, moved or replaced by marks that mean something to YAML.
fn broken_text() -> impl Strategy<Value = String> {
    let texts: Vec<String> = corpus().into_values().collect();
    let noise = prop_oneof![
        "[\\[\\]{}:,&*!|>%@`'\"#?\\-\\n\\t\\x00 ]{1,3}",
        Just("\n  ".to_owned()),
        Just("${".to_owned()),
        Just("é🔑\u{feff}\u{2028}".to_owned()),
        Just("99999999999999999999".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    let edit = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0u8..4,
        noise,
    );
    (
        prop::sample::select(texts),
        proptest::collection::vec(edit, 1..6),
    )
        .prop_map(|(text, edits)| {
            let mut text: Vec<char> = text.chars().collect();
            for (from, to, what, noise) in edits {
                let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
                let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
                let piece: Vec<char> = text[from..to].to_vec();
                match what {
                    0 => drop(text.drain(from..to)),
                    1 => drop(text.splice(from..from, piece)),
                    2 => drop(text.splice(from..to, noise.chars())),
                    _ => drop(text.splice(from..from, noise.chars())),
                }
            }
            text.into_iter().collect()
        })
}

fn service() -> impl Strategy<Value = Service> {
    let command = prop_oneof![
        "[a-z/][ -~é]{0,20}[a-z]".prop_map(CommandLine::Shell),
        proptest::collection::vec("[ -~\\n\\té]{1,12}", 1..4).prop_map(CommandLine::Words),
    ];
    let rule = prop_oneof![
        "[A-Z_][A-Z0-9_]{0,6}".prop_map(EnvRule::Required),
        ("[A-Z_][A-Z0-9_]{0,6}", "[ -~\\n]{0,10}")
            .prop_map(|(name, value)| EnvRule::Default(name, value)),
        Just(EnvRule::All),
    ];
    let check = prop_oneof![
        "/[a-z0-9/._-]{0,12}".prop_map(Check::Path),
        "[a-z][ -~]{0,12}[a-z]".prop_map(|line| Check::Command(CommandLine::Shell(line))),
        Just(Check::Disabled),
        Just(Check::Unset),
    ];
    let numbers = (
        0u16..=1_000,
        0u32..=64_000,
        0u64..=4_096,
        any::<bool>(),
        any::<bool>(),
    );
    let waits = proptest::collection::vec(1u64..=600_000, 6);
    (
        command,
        proptest::collection::vec(rule, 0..4),
        check,
        numbers,
        waits,
        1u16..,
    )
        .prop_map(
            |(
                command,
                environment,
                check,
                (count, cpu, megabytes, replace, internal),
                waits,
                port,
            )| Service {
                command: Some(command),
                port: Some(Port {
                    number: Some(port),
                    scheme: Scheme::Grpc,
                }),
                health: Health {
                    check,
                    interval: Millis(waits[0]),
                    timeout: Millis(waits[1]),
                },
                start_limit: Millis(waits[2]),
                count,
                cpu_millicores: cpu,
                memory_bytes: megabytes << 20,
                environment,
                strategy: if replace {
                    Rollout::Replace
                } else {
                    Rollout::Surge
                },
                stop_grace: Millis(waits[3]),
                drain_limit: Millis(waits[4]),
                timeout: Millis(waits[5]),
                internal,
                ..Service::default()
            },
        )
}

/// A double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn written(command: &CommandLine) -> String {
    match command {
        CommandLine::Shell(line) => quoted(line),
        CommandLine::Words(words) => {
            format!(
                "[{}]",
                words
                    .iter()
                    .map(|word| quoted(word))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

/// The service as a person would have written it.
fn render(name: &ServiceName, service: &Service) -> String {
    let check = match &service.health.check {
        Check::Unset => String::new(),
        Check::Path(path) => format!("path: {}, ", quoted(path)),
        Check::Command(command) => format!("command: {}, ", written(command)),
        Check::Disabled => "disable: true, ".to_owned(),
    };
    let rules: Vec<String> = service
        .environment
        .iter()
        .map(|rule| match rule {
            EnvRule::Required(name) => quoted(name),
            EnvRule::Default(name, value) => quoted(&format!("{name}={value}")),
            EnvRule::All => quoted("*"),
        })
        .collect();
    format!(
        "  {name}:\n    command: {}\n    port: grpc:{}\n    health: {{{check}interval: {}ms, timeout: {}ms}}\n    \
         startup: {}ms\n    scale: {{count: {}, cpu: {}, memory: {}}}\n    environment: [{}]\n    singleton: {}\n    \
         termination: {{grace: {}ms}}\n    drain: {}ms\n    timeout: {}ms\n    internal: {}\n",
        written(service.command.as_ref().unwrap()),
        service.port.and_then(|port| port.number).unwrap(),
        service.health.interval.0,
        service.health.timeout.0,
        service.start_limit.0,
        service.count,
        service.cpu_millicores,
        service.memory_bytes >> 20,
        rules.join(", "),
        service.strategy == Rollout::Replace,
        service.stop_grace.0,
        service.drain_limit.0,
        service.timeout.0,
        service.internal,
    )
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(1_500))]

    #[test]
    fn a_broken_manifest_is_an_answer_and_not_a_panic(text in broken_text(), dialect in 0usize..3) {
        holds_for(Dialect::ALL[dialect], &text)?;
    }

    #[test]
    fn any_text_is_an_answer_and_not_a_panic(text in any::<String>(), dialect in 0usize..3) {
        holds_for(Dialect::ALL[dialect], &text)?;
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn what_was_written_reads_back(services in proptest::collection::vec(service(), 1..4)) {
        let named: Vec<(ServiceName, Service)> = services
            .into_iter()
            .enumerate()
            .map(|(index, service)| (format!("s{index}").parse().unwrap(), service))
            .collect();
        let mut text = String::from("services:\n");
        for (name, service) in &named {
            text.push_str(&render(name, service));
        }
        let (manifest, warnings) = manifest::read(Dialect::Hoist, "hoist.yml", &text).unwrap();
        prop_assert_eq!(&manifest.services, &named);
        // `${` in a value is the one thing here that deserves a word.
        prop_assert!(warnings.iter().all(|warning| warning.message.contains("${")), "{:?}", warnings);
    }
}
