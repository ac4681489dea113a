//! `app.json` beside a `Procfile`: sizes, health checks, variables and scripts, in the words of Dokku and Heroku.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, Problem, Reader};
use super::keys;
use super::tree::{Entry, Node, Value};
use super::values::{
    boolean, duration, positive_duration, shell_or_words, shown, text, url_path, whole,
};
use super::{
    Check, CommandLine, Dialect, Liveness, MANIFEST_BYTES_MAX, Manifest, ManifestError,
    MissingNames, Service, Warning, json,
};
use crate::model::Millis;

/// The name of the file.
pub const APP_JSON: &str = "app.json";

/// Most processes of a service.
const COUNT_MAX: u64 = 1_000;
/// What a check is like whose fields do not say.
const ATTEMPTS: u64 = 3;
const WAIT: Millis = Millis::from_secs(5);
const TIMEOUT: Millis = Millis::from_secs(5);
/// Most attempts of a check.
const ATTEMPTS_MAX: u64 = 10_000;

/// What `app.json` asks for beyond services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppJson {
    /// Variables that the first release gets, in the order of the file.
    pub env: Vec<AppEnv>,
    /// Runs in the built tree, which keeps what it writes.
    pub predeploy: Option<CommandLine>,
    /// Runs before the first release starts, behind the release command.
    pub first_deploy: Option<CommandLine>,
    /// Runs once the release serves.
    pub postdeploy: Option<CommandLine>,
}

/// A variable of `app.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppEnv {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub from: EnvSource,
    /// The file's value wins at each deploy, not only at the first.
    pub sync: bool,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// The file.
    Value(String),
    /// A fresh random value.
    Secret,
    /// `hoist env set`, before the first deploy.
    Operator,
    /// Nowhere, and that is all right.
    Nowhere,
}

/// Reads `app.json` into the manifest that stands beside it.
///
/// # Errors
/// As [`super::read`].
pub fn read_app_json(text: &str, manifest: &mut Manifest) -> Result<Vec<Warning>, ManifestError> {
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge {
            file: APP_JSON.to_owned(),
            bytes: text.len(),
        });
    }
    let root = json::parse(APP_JSON, text)?;
    let mut reader = Reader::new(Dialect::Procfile, APP_JSON);
    apply(&root, manifest, &mut reader).map_err(|problem| problem.in_file(APP_JSON, text))?;
    Ok(reader.into_warnings())
}

fn apply(root: &Node, manifest: &mut Manifest, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let fields = reader.fields(root, "app.json", keys::APP_JSON)?;
    if let Some(node) = fields.get("formation") {
        formation(node, manifest, reader)?;
    }
    if let Some(node) = fields.get("healthchecks") {
        for entry in entries(node, "`healthchecks`")? {
            match service_mut(manifest, &entry.key) {
                Some(service) => checks(entry, service, reader)?,
                None => reader.warn(
                    entry.place,
                    format!(
                        "the checks of `{}` are ignored: the Procfile has no such line",
                        shown(&entry.key)
                    ),
                ),
            }
        }
    }
    if let Some(node) = fields.get("env") {
        let read = entries(node, "`env`")?
            .iter()
            .map(|entry| variable(entry, reader));
        manifest.app_json.env = read.collect::<Result<_, _>>()?;
    }
    if let Some(node) = fields.get("scripts") {
        scripts(node, &mut manifest.app_json, reader)?;
    }
    Ok(())
}

fn entries<'n>(node: &'n Node, what: &str) -> Result<&'n [Entry], Problem> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        other => Err(Problem::at(
            node.place,
            format!("{what} must be a map, not {}", other.kind()),
        )),
    }
}

fn service_mut<'m>(manifest: &'m mut Manifest, name: &str) -> Option<&'m mut Service> {
    let mut services = manifest.services.iter_mut();
    let found = services.find(|(known, _)| known.as_str() == name);
    found.map(|(_, service)| service)
}

/// One quantity makes the file the whole truth: what it does not list does not start.
fn formation(node: &Node, manifest: &mut Manifest, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let mut sizes = BTreeMap::new();
    for entry in entries(node, "`formation`")? {
        let owner = format!("`formation.{}`", shown(&entry.key));
        let fields = reader.fields(&entry.value, &owner, keys::FORMATION)?;
        if service_mut(manifest, &entry.key).is_none() {
            return Err(Problem::at(
                entry.place,
                format!("`{}` is no line of the Procfile", shown(&entry.key)),
            ));
        }
        if let Some(node) = fields.get("quantity") {
            let quantity = whole(node, "`quantity`", COUNT_MAX)?;
            sizes.insert(
                entry.key.as_str(),
                u16::try_from(quantity).unwrap_or(u16::MAX),
            );
        }
    }
    if !sizes.is_empty() {
        for (name, service) in &mut manifest.services {
            service.count = sizes.get(name.as_str()).copied().unwrap_or(0);
        }
    }
    Ok(())
}

/// The first startup or readiness check of a service is its gate.
fn checks(entry: &Entry, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let owner = format!("`healthchecks.{}`", shown(&entry.key));
    let Value::List(items) = &entry.value.value else {
        return Err(Problem::at(
            entry.value.place,
            format!("{owner} must be a list, not {}", entry.value.value.kind()),
        ));
    };
    let mut taken = false;
    for item in items {
        let fields = reader.fields(item, "a check", keys::APP_CHECK)?;
        let kind = match fields.get("type") {
            Some(node) => text(node, "`type`")?,
            None => "startup",
        };
        match kind {
            "startup" | "readiness" if !taken => {
                taken = true;
                check(item, service, reader)?;
            }
            "startup" | "readiness" => reader.warn(
                item.place,
                format!(
                    "a further check of `{}` is ignored: one decides",
                    shown(&entry.key)
                ),
            ),
            "liveness" if service.liveness.is_none() => liveness(item, service, reader)?,
            "liveness" => reader.warn(item.place, "a further liveness check is ignored"),
            other => {
                let message = format!(
                    "`type` is startup, readiness or liveness, not `{}`",
                    shown(other)
                );
                return Err(Problem::at(item.place, message));
            }
        }
    }
    Ok(())
}

fn check(node: &Node, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let fields = reader.fields(node, "a check", keys::APP_CHECK)?;
    if let Some(asked) = asked(&fields, service, reader)? {
        service.health.check = asked;
    }
    let timeout = match fields.get("timeout") {
        Some(node) => {
            service.health.timeout = positive_duration(node, "`timeout`")?;
            service.health.timeout
        }
        None => TIMEOUT,
    };
    let limits = ["attempts", "wait", "initialDelay"].map(|key| fields.get(key));
    if limits.iter().all(Option::is_none) {
        return Ok(());
    }
    // We ask more often, and give up when the last of its attempts would have ended.
    let [attempts, wait, delay] = limits;
    let attempts = attempts.map_or(Ok(ATTEMPTS), |node| whole(node, "`attempts`", ATTEMPTS_MAX))?;
    let wait = wait.map_or(Ok(WAIT), |node| duration(node, "`wait`"))?;
    let delay = delay.map_or(Ok(Millis(0)), |node| duration(node, "`initialDelay`"))?;
    let one = timeout.0.saturating_add(wait.0);
    let all = delay.0.saturating_add(attempts.max(1).saturating_mul(one));
    service.start_limit = Millis(all.max(1_000));
    Ok(())
}

/// What a check asks; nothing when it says nothing that can be asked.
fn asked(
    fields: &Fields<'_>,
    service: &Service,
    reader: &mut Reader<'_>,
) -> Result<Option<Check>, Problem> {
    let listening = fields.get("listening");
    match (fields.get("path"), fields.get("command")) {
        (Some(_), Some(command)) => Err(Problem::at(
            command.place,
            "a check has a path or a command: keep one",
        )),
        (Some(node), None) if service.port.is_none() => {
            let why = "the path is ignored: only `web` has a port to ask";
            reader.warn(node.place, why);
            Ok(None)
        }
        (Some(node), None) => Ok(Some(Check::Path(url_path(node, "`path`")?))),
        (None, Some(node)) => Ok(Some(Check::Command(shell_or_words(node, "`command`")?))),
        (None, None) if service.port.is_none() => Ok(None),
        (None, None) => {
            let only = listening.map_or(Ok(false), |node| boolean(node, "`listening`"))?;
            Ok(only.then_some(Check::Disabled))
        }
    }
}

/// `attempts` failures in a row, with `wait` between them, and the process is started again.
fn liveness(node: &Node, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let fields = reader.fields(node, "a check", keys::APP_CHECK)?;
    let Some(check) = asked(&fields, service, reader)? else {
        reader.warn(
            node.place,
            "the liveness check is ignored: it has nothing to ask",
        );
        return Ok(());
    };
    let mut live = Liveness {
        check,
        ..Liveness::default()
    };
    if let Some(node) = fields.get("attempts") {
        let attempts = whole(node, "`attempts`", ATTEMPTS_MAX)?.max(1);
        live.failures = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    if let Some(node) = fields.get("wait") {
        live.interval = positive_duration(node, "`wait`")?;
    }
    if let Some(node) = fields.get("timeout") {
        live.timeout = positive_duration(node, "`timeout`")?;
    }
    if let Some(node) = fields.get("initialDelay") {
        live.grace = duration(node, "`initialDelay`")?;
    }
    service.liveness = Some(live);
    Ok(())
}

fn variable(entry: &Entry, reader: &mut Reader<'_>) -> Result<AppEnv, Problem> {
    let name = entry.key.clone();
    super::check_env_name(&name).map_err(|_| {
        Problem::at(
            entry.place,
            super::InvalidEnv::Name(shown(&name)).to_string(),
        )
    })?;
    if let Value::Scalar(_) = &entry.value.value {
        let value = text(&entry.value, "a variable")?.to_owned();
        let from = EnvSource::Value(value);
        return Ok(AppEnv {
            name,
            from,
            sync: false,
        });
    }
    let fields = reader.fields(
        &entry.value,
        &format!("`env.{}`", shown(&name)),
        keys::APP_ENV,
    )?;
    let yes = |key: &str, unsaid: bool| {
        fields
            .get(key)
            .map_or(Ok(unsaid), |node| boolean(node, &format!("`{key}`")))
    };
    let generator = fields.get("generator");
    let from = match (fields.get("value"), generator) {
        (Some(node), _) => EnvSource::Value(text(node, "`value`")?.to_owned()),
        (None, Some(node)) if matches!(&node.value, Value::Scalar(word) if word == "secret") => {
            EnvSource::Secret
        }
        (None, Some(node)) => {
            return Err(Problem::at(node.place, "`generator` is `secret`"));
        }
        (None, None) if yes("required", true)? => EnvSource::Operator,
        (None, None) => EnvSource::Nowhere,
    };
    let sync = yes("sync", false)?;
    Ok(AppEnv { name, from, sync })
}

fn scripts(node: &Node, into: &mut AppJson, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let command = |node: &Node, what: &str| match &node.value {
        // An empty script is none.
        Value::Scalar(text) if text.trim().is_empty() => Ok(None),
        _ => shell_or_words(node, what).map(Some),
    };
    let fields = reader.fields(node, "`scripts`", keys::SCRIPTS)?;
    if let Some(node) = fields.get("postdeploy") {
        into.first_deploy = command(node, "`scripts.postdeploy`")?;
    }
    let Some(node) = fields.get("dokku") else {
        return Ok(());
    };
    let fields = reader.fields(node, "`scripts.dokku`", keys::DOKKU_SCRIPTS)?;
    if let Some(node) = fields.get("predeploy") {
        into.predeploy = command(node, "`scripts.dokku.predeploy`")?;
    }
    if let Some(node) = fields.get("postdeploy") {
        into.postdeploy = command(node, "`scripts.dokku.postdeploy`")?;
    }
    Ok(())
}

impl AppJson {
    /// Adds the variables that `env` lacks, at the app's first deploy; later only those that are kept in step. Answers the
    /// names that changed. `secret` makes a random value.
    ///
    /// # Errors
    /// [`MissingNames`] when the operator has to set some first; `env` is as it was.
    pub fn fill(
        &self,
        env: &mut BTreeMap<String, String>,
        first: bool,
        mut secret: impl FnMut() -> String,
    ) -> Result<Vec<String>, MissingNames> {
        let operators = self
            .env
            .iter()
            .filter(|rule| rule.from == EnvSource::Operator);
        let missing: BTreeSet<_> = operators
            .map(|rule| rule.name.clone())
            .filter(|name| !env.contains_key(name))
            .collect();
        if !missing.is_empty() {
            return Err(MissingNames(missing.into_iter().collect()));
        }
        let mut changed = Vec::new();
        for rule in &self.env {
            let present = env.get(&rule.name);
            let value = match &rule.from {
                EnvSource::Value(value) if rule.sync && present != Some(value) => value.clone(),
                EnvSource::Value(value) if first && present.is_none() => value.clone(),
                EnvSource::Secret if present.is_none() && (first || rule.sync) => secret(),
                _ => continue,
            };
            env.insert(rule.name.clone(), value);
            changed.push(rule.name.clone());
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read;

    const PROCFILE: &str = "web: ./web\nworker: ./worker\nclock: ./clock\n";

    fn app_json(text: &str) -> Result<(Manifest, Vec<String>), ManifestError> {
        let (mut manifest, _) = read(Dialect::Procfile, "Procfile", PROCFILE).unwrap();
        let warnings = read_app_json(text, &mut manifest)?;
        Ok((manifest, warnings.iter().map(ToString::to_string).collect()))
    }

    fn counts(manifest: &Manifest) -> Vec<u16> {
        manifest
            .services
            .iter()
            .map(|(_, service)| service.count)
            .collect()
    }

    #[test]
    fn quantities_are_the_whole_truth() {
        let (manifest, warnings) =
            app_json(r#"{"name": "x", "formation": {"worker": {"quantity": 4}}}"#).unwrap();
        assert_eq!((counts(&manifest), warnings), (vec![0, 4, 0], vec![]));
        let (manifest, warnings) =
            app_json("{\"formation\": {\n\"web\": {\"max_parallel\": 2}}}").unwrap();
        assert_eq!(counts(&manifest), [1, 0, 0]);
        assert!(warnings[0].starts_with("app.json:2: `max_parallel` is ignored"));
        let error = app_json("{\"formation\": {\n \"webb\": {\"quantity\": 1}}}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "app.json:2:2: `webb` is no line of the Procfile"
        );
        let error = app_json(r#"{"formation": {"web": {"quantity": -1}}}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("whole number from 0 to 1000, not `-1`")
        );
    }

    #[test]
    fn the_first_startup_check_is_the_gate() {
        let text = r#"{"healthchecks": {"web": [
            {"type": "startup", "path": "/up", "attempts": 4, "wait": 2, "timeout": 3, "initialDelay": 10, "content": "ok"},
            {"type": "liveness", "path": "/live", "attempts": 7, "wait": 9},
            {"type": "readiness", "path": "/ready"}],
            "worker": [{"command": ["./check", "a b"]}],
            "gone": []}}"#;
        let (manifest, warnings) = app_json(text).unwrap();
        let web = manifest.service_named("web").unwrap();
        assert_eq!(web.health.check, Check::Path("/up".to_owned()));
        assert_eq!(web.health.timeout, Millis(3_000));
        assert_eq!(web.start_limit, Millis(30_000));
        let live = web.liveness.as_ref().unwrap();
        assert_eq!(live.check, Check::Path("/live".to_owned()));
        assert_eq!((live.failures, live.interval), (7, Millis(9_000)));
        let worker = manifest.service_named("worker").unwrap();
        let words = ["./check", "a b"].map(str::to_owned).to_vec();
        assert_eq!(
            worker.health.check,
            Check::Command(CommandLine::Words(words))
        );
        assert_eq!(worker.start_limit, crate::limits::START_LIMIT);
        let lines: Vec<_> = warnings
            .iter()
            .map(|w| w.split(' ').next().unwrap())
            .collect();
        assert_eq!(
            lines,
            ["app.json:2:", "app.json:4:", "app.json:6:"],
            "{warnings:?}"
        );
        let error = app_json(r#"{"healthchecks": {"web": [{"path": "up"}]}}"#).unwrap_err();
        assert!(
            error.to_string().contains("`path` is a path like"),
            "{error}"
        );
    }

    #[test]
    fn scripts_are_commands_of_a_shell() {
        let text = r#"{"scripts": {"dokku": {"predeploy": "make x", "postdeploy": "tell"}, "postdeploy": "seed", "test": "t"}}"#;
        let (manifest, warnings) = app_json(text).unwrap();
        let shell = |text: &str| Some(CommandLine::Shell(text.to_owned()));
        assert_eq!(manifest.app_json.predeploy, shell("make x"));
        assert_eq!(manifest.app_json.first_deploy, shell("seed"));
        assert_eq!(manifest.app_json.postdeploy, shell("tell"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn variables_are_set_once_and_never_over_others() {
        let text = r#"{"env": {"A": "1", "B": {"value": "2", "sync": true}, "S": {"generator": "secret"},
            "R": {"description": "yours"}, "O": {"required": false}}}"#;
        let asked = app_json(text).unwrap().0.app_json;
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let mut env = map(&[("A", "mine")]);
        let missing = asked.fill(&mut env, true, String::new).unwrap_err();
        assert_eq!(missing.0, ["R"]);
        env.insert("R".to_owned(), "r".to_owned());
        let changed = asked.fill(&mut env, true, || "random".to_owned()).unwrap();
        assert_eq!(changed, ["B", "S"]);
        assert_eq!(
            env,
            map(&[("A", "mine"), ("B", "2"), ("R", "r"), ("S", "random")])
        );
        env = map(&[("B", "other"), ("R", "r")]);
        assert_eq!(asked.fill(&mut env, false, String::new).unwrap(), ["B"]);
        assert_eq!(env, map(&[("B", "2"), ("R", "r")]));
    }

    #[test]
    fn what_is_broken_is_refused_with_its_line() {
        for (text, expected) in [
            ("{\n\"env\": }", "app.json:2:8: expected a value"),
            ("[]", "app.json:1:1: app.json must be a map, not a list"),
            (
                "{\"env\": {\"A-B\": \"1\"}}",
                "app.json:1:10: `A-B` is not a variable name",
            ),
            (
                "{\"env\": {\"A\": {\"generator\": \"uuid\"}}}",
                "app.json:1:29: `generator` is `secret`",
            ),
        ] {
            let error = app_json(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
