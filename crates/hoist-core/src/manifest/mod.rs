//! What users write, read purely from text: `hoist.yml`, `convox.yml` and `Procfile` become one `Manifest`.
//!
//! Reading is strict about meaning and lenient about extras: what cannot be understood is a [`ManifestError`] with its
//! line and what to do; what is understood but not acted on, or not known at all, is a [`Warning`] with its line. A
//! manifest that read without warnings does what it says. No file is opened here: callers bring the text.

mod app_json;
mod convert;
mod env;
mod error;
mod fields;
mod health;
mod interpolate;
pub(crate) mod json;
mod keys;
mod procfile;
#[cfg(test)]
#[path = "tests/reference.rs"]
mod reference;
mod service;
pub(crate) mod tree;
mod values;
mod volumes;
mod yaml;

use std::collections::BTreeMap;

pub use app_json::{APP_JSON, AppEnv, AppJson, EnvSource, read_app_json};
pub use convert::{MissingFingerprint, to_release};
pub use env::{
    ENV_BYTES_MAX, EnvRule, InvalidEnv, MissingNames, VARIABLE_BYTES_MAX, check_env_name,
    check_env_value, process_env, resolve_env,
};
pub use error::{ManifestError, Place, Warning};
pub use keys::nearest;

use crate::detect::Choice;
use crate::id::ServiceName;
use crate::model::{Millis, Strategy};

/// Largest manifest that is read.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Most services that a manifest may have.
pub const SERVICES_MAX: usize = 100;

/// Which rules a manifest is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `hoist.yml`: a command that is a string runs by a shell.
    Hoist,
    /// `convox.yml`: a command is split into words and no shell runs it.
    Convox,
    /// `Procfile`: `name: command` per line, each run by a shell; `web` starts once, others not at all.
    Procfile,
}

impl Dialect {
    /// In the order in which they win.
    pub const ALL: [Self; 3] = [Self::Hoist, Self::Convox, Self::Procfile];

    /// The file that it is kept in, at the top of a source directory.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Hoist => "hoist.yml",
            Self::Convox => "convox.yml",
            Self::Procfile => "Procfile",
        }
    }

    /// The dialect of a file by its name, whatever directory it is in. Names of our own choosing read as `hoist.yml`.
    pub fn of_file(name: &str) -> Self {
        let base = name.rsplit('/').next().unwrap_or(name);
        match base {
            "Procfile" => Self::Procfile,
            _ if base.starts_with("Procfile.") => Self::Procfile,
            _ if base.starts_with("convox") => Self::Convox,
            _ => Self::Hoist,
        }
    }
}

/// Says which of the files at the top of a source directory is its manifest: `hoist.yml`, then `convox.yml`, then
/// `Procfile`. Others may be listed too.
///
/// # Errors
/// [`ManifestError::Missing`] when none is there.
pub fn choose<'a>(present: impl IntoIterator<Item = &'a str>) -> Result<Dialect, ManifestError> {
    let rank = |name: &str| {
        Dialect::ALL
            .iter()
            .position(|dialect| dialect.file_name() == name)
    };
    present
        .into_iter()
        .filter_map(rank)
        .min()
        .map(|first| Dialect::ALL[first])
        .ok_or(ManifestError::Missing)
}

/// Reads a manifest. `file_name` is only for messages.
///
/// `${NAME}` outside of shell commands is left as it stands, with a warning: see [`read_with`].
///
/// # Errors
/// Whatever keeps the text from meaning something, at its line. Nothing is half read.
pub fn read(
    dialect: Dialect,
    file_name: &str,
    text: &str,
) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    read_any(dialect, file_name, text, None)
}

/// Reads a manifest like [`read`] and replaces `${NAME}` and `${NAME:-default}` in its values from `variables`; `$$` is
/// a dollar sign.
///
/// It happens on values after parsing, so that a variable can never change the structure. A shell command is left
/// alone, because its shell does the same with the process's own variables. A name that is not set and has no default
/// becomes nothing, with a warning.
///
/// # Errors
/// As [`read`].
pub fn read_with(
    dialect: Dialect,
    file_name: &str,
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    read_any(dialect, file_name, text, Some(variables))
}

fn read_any(
    dialect: Dialect,
    file_name: &str,
    text: &str,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge {
            file: file_name.to_owned(),
            bytes: text.len(),
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match dialect {
        Dialect::Hoist | Dialect::Convox => yaml::read(dialect, file_name, text, variables),
        Dialect::Procfile => procfile::read(file_name, text),
    }
}

/// What a source directory asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its services, in the order of the file. Names, host labels and domains are unique.
    pub services: Vec<(ServiceName, Service)>,
    /// How the source becomes a slug.
    pub build: Build,
    /// A command that runs once, to completion, before any service of a release starts.
    pub release_command: Option<CommandLine>,
    /// What an `app.json` beside a `Procfile` asks for.
    pub app_json: AppJson,
}

impl Manifest {
    /// The service of that name, as text.
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.services
            .iter()
            .find(|(known, _)| known.as_str() == name)
            .map(|(_, service)| service)
    }

    /// The service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, service)| service)
    }
}

/// How source becomes a slug on engines without images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// Runs in the source directory.
    pub command: Option<CommandLine>,
    /// What is built where there is no command.
    pub detect: Choice,
}

/// A command as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CommandLine {
    /// Run by `/bin/sh -c`: variables, quotes and pipes are the shell's.
    Shell(String),
    /// Exactly these words, the first of which is the program. Never empty.
    Words(Vec<String>),
}

impl CommandLine {
    /// The words to execute.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Words(words) => words.clone(),
        }
    }

    /// The words that execute several one after the other until one fails; of none, words that do nothing.
    pub fn in_turn(commands: &[&Self]) -> Vec<String> {
        if let [one] = commands {
            return one.argv();
        }
        let mut script = String::from("set -e");
        for command in commands {
            let words = command.argv();
            // What cannot be quoted has a NUL, which no command has.
            let words = words
                .iter()
                .map(|word| shlex::try_quote(word).unwrap_or_default());
            script.push('\n');
            script.push_str(&words.collect::<Vec<_>>().join(" "));
        }
        Self::Shell(script).argv()
    }
}

impl std::fmt::Display for CommandLine {
    /// Writes the command as a person would type it, for listings.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shell(line) => f.write_str(line),
            Self::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// One service as the manifest asks for it. Every default is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What its processes run; none where an image would bring its own.
    pub command: Option<CommandLine>,
    /// An existing image instead of the build; engines without images refuse it.
    pub image: Option<String>,
    /// Requests reach it: it has a main port.
    pub port: Option<Port>,
    /// Further ports; the local engine refuses them.
    pub ports: Vec<u16>,
    /// How a process shows that it may take requests.
    pub health: Health,
    /// What it is asked before; its health check alone when none.
    pub startup: Option<Startup>,
    /// How it shows that it lives; running is enough when none.
    pub liveness: Option<Liveness>,
    /// How long a process may take from its start to ready.
    pub start_limit: Millis,
    /// How many processes, until an operator sets another size.
    pub count: u16,
    /// Limit of CPU time of one process in thousandths of a core; 0 when unlimited.
    pub cpu_millicores: u32,
    /// Limit of memory of one process in bytes; 0 when unlimited.
    pub memory_bytes: u64,
    /// Which variables reach it, the manifest's own list and then the service's: see [`resolve_env`].
    pub environment: Vec<EnvRule>,
    /// How a new workload takes the place of an old one.
    pub strategy: Strategy,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Millis,
    /// How long old processes may finish requests before they are told to stop.
    pub drain_limit: Millis,
    /// Longest wait of the router for a byte from the process.
    pub timeout: Millis,
    /// Own host names, beside the one made of service and app. Lower case, unique in the manifest.
    pub domains: Vec<String>,
    /// Directories that outlive processes.
    pub volumes: Vec<Volume>,
    /// Not reachable from outside: the router gets no host for it.
    pub internal: bool,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            command: None,
            image: None,
            port: None,
            ports: Vec::new(),
            health: Health::default(),
            startup: None,
            liveness: None,
            start_limit: crate::limits::START_LIMIT,
            count: 1,
            cpu_millicores: 0,
            memory_bytes: 0,
            environment: vec![EnvRule::All],
            strategy: Strategy::Surge,
            stop_grace: crate::limits::STOP_GRACE,
            drain_limit: crate::limits::DRAIN_LIMIT,
            timeout: crate::limits::REQUEST_TIMEOUT,
            domains: Vec::new(),
            volumes: Vec::new(),
            internal: false,
        }
    }
}

impl Service {
    /// Whether the router has a host for it.
    pub fn routed(&self) -> bool {
        self.port.is_some() && !self.internal
    }
}

/// The main port of a service. The local engine chooses the number and tells it in `PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The number that was written; none where only the fact matters (`Procfile`).
    pub number: Option<u16>,
    /// What the process speaks on it.
    pub scheme: Scheme,
}

/// What a process speaks on its main port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP in TLS up to the process.
    Https,
    /// gRPC without TLS.
    Grpc,
}

/// How a process shows that it may take requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// Pause between checks of a process that is ready.
    pub interval: Millis,
    /// How long one check may take.
    pub timeout: Millis,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: Check::Unset,
            interval: crate::limits::HEALTH_INTERVAL,
            timeout: crate::limits::HEALTH_TIMEOUT,
        }
    }
}

/// What a process is asked until its first good answer; only then its health check begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// What is asked.
    pub check: Check,
    /// Pause between checks; as before ready when none.
    pub interval: Option<Millis>,
    /// How long one check may take.
    pub timeout: Millis,
}

/// How a process that was ready shows that it lives. One that does not is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// What is asked.
    pub check: Check,
    /// From ready to the first check.
    pub grace: Millis,
    /// Pause between checks.
    pub interval: Millis,
    /// How long one check may take.
    pub timeout: Millis,
    /// Failures in a row after which it is started again.
    pub failures: u32,
    /// Good answers in a row after which failures are forgotten.
    pub successes: u32,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            check: Check::Unset,
            grace: crate::limits::LIVENESS_GRACE,
            interval: crate::limits::LIVENESS_INTERVAL,
            timeout: crate::limits::LIVENESS_TIMEOUT,
            failures: crate::limits::LIVENESS_FAILURES,
            successes: 1,
        }
    }
}

/// What is asked of a process to know that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nothing was said. With a port: it accepts and GET `/` answers anything below 500. Without: it has run a second.
    Unset,
    /// GET of this path answers 200 to 399.
    Path(String),
    /// This command exits 0.
    Command(CommandLine),
    /// Explicitly nothing: with a port it is enough that it accepts.
    Disabled,
}

/// A directory that outlives processes, deploys and the app's deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name within the app.
    pub name: String,
    /// Where processes see it: absolute, without `..`.
    pub path: String,
    /// One process at a time may hold it, which makes the service's strategy `replace`.
    pub exclusive: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_file_wins() {
        assert_eq!(
            choose(["Procfile", "hoist.yml", "convox.yml"]).ok(),
            Some(Dialect::Hoist)
        );
        assert_eq!(
            choose(["README", "Procfile", "convox.yml"]).ok(),
            Some(Dialect::Convox)
        );
        assert_eq!(choose(["Procfile"]).ok(), Some(Dialect::Procfile));
        assert!(matches!(
            choose(["Dockerfile", "procfile"]),
            Err(ManifestError::Missing)
        ));
    }

    #[test]
    fn commands_in_turn_are_one() {
        let shell = CommandLine::Shell("a && b".to_owned());
        let words = CommandLine::Words(vec!["c".to_owned(), "d e".to_owned()]);
        assert_eq!(CommandLine::in_turn(&[&words]), ["c", "d e"]);
        let both = CommandLine::in_turn(&[&shell, &words]);
        assert_eq!(both[2], "set -e\n/bin/sh -c 'a && b'\nc 'd e'");
        assert_eq!(CommandLine::in_turn(&[])[2], "set -e");
    }

    #[test]
    fn a_dialect_is_known_by_the_name_of_its_file() {
        assert_eq!(Dialect::of_file("a/convox.staging.yml"), Dialect::Convox);
        assert_eq!(Dialect::of_file("Procfile.dev"), Dialect::Procfile);
        assert_eq!(Dialect::of_file("my-hoist.yml"), Dialect::Hoist);
    }
}
