//! A manifest in the form of a `hoist.yml` that leaves nothing to defaults. Reading it gives the same manifest again.

use std::time::Duration;

use hoist_core::detect::Choice;
use hoist_core::manifest::{
    Build, Check, CommandLine, EnvRule, Liveness, Manifest, Port, Scheme, Service, Volume,
};
use hoist_core::model::{Millis, Strategy};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A manifest as it is read.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    build: ShownBuild,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Command>,
    #[serde(serialize_with = "in_order")]
    services: Vec<(String, ShownService)>,
}

#[derive(Debug, Serialize)]
struct ShownBuild {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detect: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
}

/// Text for a shell, or exact words.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Command {
    Shell(String),
    Words(Vec<String>),
}

#[derive(Debug, Serialize)]
struct ShownService {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<ShownPort>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<u16>,
    health: ShownHealth,
    startup: ShownStartup,
    #[serde(rename = "startupProbe", skip_serializing_if = "Option::is_none")]
    startup_probe: Option<StartupProbe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<ShownLiveness>,
    scale: ShownScale,
    environment: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domain: Vec<String>,
    internal: bool,
    singleton: bool,
    termination: Termination,
    drain: String,
    timeout: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<ShownVolume>,
}

#[derive(Debug, Serialize)]
struct ShownPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    scheme: &'static str,
}

#[derive(Debug, Serialize)]
struct ShownHealth {
    #[serde(flatten)]
    check: ShownCheck,
    interval: String,
    timeout: String,
}

/// How long a process may take, and what it is asked until its first good answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ShownStartup {
    Limit(String),
    Asked {
        #[serde(flatten)]
        check: ShownCheck,
        #[serde(skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        timeout: String,
        grace: String,
    },
}

/// That the port accepts is asked in this form alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StartupProbe {
    tcp_socket_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    timeout: String,
    /// The whole time is what `startup` says.
    failure_threshold: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLiveness {
    #[serde(flatten)]
    check: ShownCheck,
    grace: String,
    interval: String,
    timeout: String,
    failure_threshold: u32,
    success_threshold: u32,
}

#[derive(Debug, Serialize)]
struct ShownCheck {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable: bool,
}

#[derive(Debug, Serialize)]
struct ShownScale {
    count: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
}

#[derive(Debug, Serialize)]
struct Termination {
    grace: String,
}

#[derive(Debug, Serialize)]
struct ShownVolume {
    name: String,
    path: String,
    exclusive: bool,
}

impl Shown {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let services = manifest.services.iter();
        Self {
            build: of_build(&manifest.build),
            release: manifest.release_command.as_ref().map(command),
            services: services
                .map(|(name, service)| (name.to_string(), of_service(service)))
                .collect(),
        }
    }

    /// As YAML.
    pub(super) fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(self)
    }
}

fn of_build(build: &Build) -> ShownBuild {
    ShownBuild {
        command: build.command.as_ref().map(command),
        detect: match build.detect {
            Choice::Look => Some(true),
            Choice::Off => Some(false),
            Choice::Only(_) => None,
        },
        language: match build.detect {
            Choice::Only(language) => Some(language.word()),
            Choice::Look | Choice::Off => None,
        },
    }
}

fn of_service(service: &Service) -> ShownService {
    let (startup, startup_probe) = startup(service);
    ShownService {
        command: service.command.as_ref().map(command),
        image: service.image.clone(),
        port: service.port.map(port),
        ports: service.ports.clone(),
        health: ShownHealth {
            check: check(&service.health.check),
            interval: length(service.health.interval),
            timeout: length(service.health.timeout),
        },
        startup,
        startup_probe,
        liveness: service.liveness.as_ref().map(liveness),
        scale: ShownScale {
            count: service.count,
            cpu: Some(service.cpu_millicores).filter(|cpu| *cpu > 0),
            memory: Some(service.memory_bytes)
                .filter(|bytes| *bytes > 0)
                .map(memory),
        },
        environment: service.environment.iter().map(rule).collect(),
        domain: service.domains.clone(),
        internal: service.internal,
        singleton: service.strategy == Strategy::Replace,
        termination: Termination {
            grace: length(service.stop_grace),
        },
        drain: length(service.drain_limit),
        timeout: length(service.timeout),
        volumes: service.volumes.iter().map(volume).collect(),
    }
}

fn check(check: &Check) -> ShownCheck {
    ShownCheck {
        path: match check {
            Check::Path(path) => Some(path.clone()),
            _ => None,
        },
        command: match check {
            Check::Command(line) => Some(command(line)),
            _ => None,
        },
        disable: *check == Check::Disabled,
    }
}

fn startup(service: &Service) -> (ShownStartup, Option<StartupProbe>) {
    let limit = length(service.start_limit);
    let Some(startup) = &service.startup else {
        return (ShownStartup::Limit(limit), None);
    };
    let (interval, timeout) = (startup.interval.map(length), length(startup.timeout));
    if matches!(startup.check, Check::Path(_) | Check::Command(_)) {
        let asked = ShownStartup::Asked {
            check: check(&startup.check),
            interval,
            timeout,
            grace: limit,
        };
        return (asked, None);
    }
    let probe = StartupProbe {
        tcp_socket_port: service.port.and_then(|port| port.number).unwrap_or(1),
        interval,
        timeout,
        failure_threshold: 1,
    };
    (ShownStartup::Limit(limit), Some(probe))
}

fn liveness(liveness: &Liveness) -> ShownLiveness {
    ShownLiveness {
        check: check(&liveness.check),
        grace: length(liveness.grace),
        interval: length(liveness.interval),
        timeout: length(liveness.timeout),
        failure_threshold: liveness.failures,
        success_threshold: liveness.successes,
    }
}

fn command(line: &CommandLine) -> Command {
    match line {
        CommandLine::Shell(line) => Command::Shell(line.clone()),
        CommandLine::Words(words) => Command::Words(words.clone()),
    }
}

fn port(port: Port) -> ShownPort {
    ShownPort {
        port: port.number,
        scheme: match port.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Grpc => "grpc",
        },
    }
}

fn rule(rule: &EnvRule) -> String {
    match rule {
        EnvRule::All => "*".to_owned(),
        EnvRule::Required(name) => name.clone(),
        EnvRule::Default(name, value) => format!("{name}={}", value.replace('$', "$$")),
    }
}

fn volume(volume: &Volume) -> ShownVolume {
    ShownVolume {
        name: volume.name.clone(),
        path: volume.path.clone(),
        exclusive: volume.exclusive,
    }
}

/// A length of time in the largest unit that says it exactly.
fn length(length: Millis) -> String {
    let milliseconds = Duration::from(length).as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        _ if milliseconds % 3_600_000 == 0 => format!("{}h", milliseconds / 3_600_000),
        _ if milliseconds % 60_000 == 0 => format!("{}m", milliseconds / 60_000),
        _ if milliseconds % 1_000 == 0 => format!("{}s", milliseconds / 1_000),
        _ => format!("{milliseconds}ms"),
    }
}

fn memory(bytes: u64) -> String {
    const MEGABYTE: u64 = 1 << 20;
    if bytes.is_multiple_of(MEGABYTE) {
        format!("{}m", bytes / MEGABYTE)
    } else {
        format!("{}k", bytes / 1024)
    }
}

/// A map in the order of the manifest.
fn in_order<S: Serializer>(
    services: &[(String, ShownService)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(services.len()))?;
    for (name, service) in services {
        map.serialize_entry(name, service)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use hoist_core::manifest::{Dialect, read};

    use super::*;

    #[test]
    fn what_is_shown_reads_as_what_it_was_made_of() {
        let reference = include_str!("../../../../../docs/guide/hoist.reference.yml");
        let small = "services: {web: {command: 'a $PORT', port: 3000}, worker: {command: [b, c]}}";
        let probed = "services: {web: {command: a, port: 3000, startupProbe: {tcpSocketPort: 3000, interval: 2s}}}";
        for text in [reference, small, probed] {
            let (manifest, _) = read(Dialect::Hoist, "hoist.yml", text).expect("reads");
            let yaml = Shown::of(&manifest).yaml().expect("writes");
            let (again, warnings) = read(Dialect::Hoist, "shown", &yaml)
                .unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            assert_eq!(again, manifest, "{yaml}");
            assert_eq!(warnings, [], "{yaml}");
        }
    }

    #[test]
    fn lengths_are_short_and_exact() {
        for (milliseconds, text) in [
            (500, "500ms"),
            (30_000, "30s"),
            (90_000, "90s"),
            (120_000, "2m"),
        ] {
            assert_eq!(length(Millis(milliseconds)), text);
        }
    }
}
