//! The reader against texts made from the corpus at random, and against itself: what is written from values reads back as
//! the same values.

use std::fmt::Write as _;

use hoist_core::id::ServiceName;
use hoist_core::manifest::{
    self, Check, CommandLine, Dialect, EnvRule, Health, ManifestError, Port, Scheme, Service,
};
use hoist_core::model::{Millis, Strategy as Rollout};
use proptest::prelude::*;

use super::corpus;

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
