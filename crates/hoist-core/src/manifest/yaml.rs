//! The top level of `hoist.yml` and `convox.yml`, and what holds between services.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, Problem, Reader};
use super::keys;
use super::tree::{self, Node, Value};
use super::values::{boolean, shell_or_words, shown, text};
use super::{
    Build, CommandLine, Dialect, EnvRule, Manifest, ManifestError, Place, SERVICES_MAX, Warning,
    interpolate, service,
};
use crate::detect::{Choice, Language};
use crate::id::ServiceName;

/// Nested lists of variables deeper than this are a mistake.
const LIST_DEPTH_MAX: usize = 8;

pub(super) fn read(
    dialect: Dialect,
    file: &str,
    text: &str,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<(Manifest, Vec<Warning>), ManifestError> {
    let mut root = tree::parse(file, text)?;
    let mut reader = Reader::new(dialect, file);
    let manifest = interpolate::apply(&mut root, variables, &mut reader)
        .and_then(|()| manifest(&root, &mut reader))
        .map_err(|problem| problem.in_file(file, text))?;
    Ok((manifest, reader.into_warnings()))
}

fn manifest(root: &Node, reader: &mut Reader<'_>) -> Result<Manifest, Problem> {
    if matches!(root.value, Value::Null) {
        return Err(Problem::at(
            Place::WholeFile,
            "the file is empty: it needs `services`",
        ));
    }
    let fields = reader.fields(root, "the manifest", keys::TOP)?;
    let shared = fields.get("environment").map(environment).transpose()?;
    let services = services(&fields, shared.as_deref(), reader)?;
    let hoist = reader.dialect == Dialect::Hoist;
    let build = match fields.get("build").filter(|_| hoist) {
        Some(node) => build(node, reader)?,
        None => Build::default(),
    };
    let release_command = match fields.get("release").filter(|_| hoist) {
        Some(node) => release(node, reader)?,
        None => None,
    };
    let manifest = Manifest {
        services,
        build,
        release_command,
        ..Manifest::default()
    };
    Ok(manifest)
}

fn services(
    fields: &Fields<'_>,
    shared: Option<&[EnvRule]>,
    reader: &mut Reader<'_>,
) -> Result<Vec<(ServiceName, super::Service)>, Problem> {
    let node = fields.get("services").ok_or_else(|| {
        Problem::at(
            Place::WholeFile,
            "no `services`: write `services:` and below it a name and its keys",
        )
    })?;
    let Value::Map(entries) = &node.value else {
        return Err(Problem::at(
            node.place,
            format!(
                "`services` must be a map of names, not {}",
                node.value.kind()
            ),
        ));
    };
    if entries.is_empty() || entries.len() > SERVICES_MAX {
        return Err(Problem::at(
            node.place,
            format!("`services` must have 1 to {SERVICES_MAX} services"),
        ));
    }
    let mut services = Vec::new();
    let mut labels: BTreeMap<String, ServiceName> = BTreeMap::new();
    let mut domains = BTreeSet::new();
    for entry in entries {
        let name: ServiceName = entry
            .key
            .parse()
            .map_err(|_| Problem::at(entry.place, name_message(&entry.key)))?;
        if let Some(other) = labels.insert(name.host_label(), name.clone()) {
            return Err(Problem::at(
                entry.place,
                format!("`{name}` and `{other}` would have the same host name"),
            ));
        }
        let service = service::read(&name, &entry.value, shared, &mut domains, reader)?;
        services.push((name, service));
    }
    Ok(services)
}

fn name_message(name: &str) -> String {
    crate::id::InvalidId::ServiceName(shown(name)).to_string()
}

fn build(node: &Node, reader: &mut Reader<'_>) -> Result<Build, Problem> {
    if matches!(node.value, Value::Scalar(_)) {
        return Err(Problem::at(
            node.place,
            "`build` is a map: write `build: {command: make}`",
        ));
    }
    let fields = reader.fields(node, "`build`", keys::BUILD)?;
    let command = fields
        .get("command")
        .map(|node| shell_or_words(node, "`build.command`"))
        .transpose()?;
    let choice = match fields.get("detect") {
        Some(node) if !boolean(node, "`build.detect`")? => Choice::Off,
        _ => Choice::Look,
    };
    let choice = match fields.get("language") {
        Some(node) => only(node, choice)?,
        None => choice,
    };
    if let (Some(_), Choice::Only(_)) = (&command, choice) {
        reader.warn(
            node.place,
            "`build.language` is ignored: `build.command` says how to build",
        );
    }
    let detect = choice;
    Ok(Build { command, detect })
}

fn only(node: &Node, choice: Choice) -> Result<Choice, Problem> {
    if choice == Choice::Off {
        return Err(Problem::at(
            node.place,
            "`build.language` with `build.detect: false`: keep one",
        ));
    }
    let word = text(node, "`build.language`")?;
    Language::from_word(word).map(Choice::Only).ok_or_else(|| {
        let known: Vec<_> = Language::ALL
            .iter()
            .map(|language| language.word())
            .collect();
        Problem::at(
            node.place,
            format!(
                "`build.language` is one of {}, not `{}`",
                known.join(", "),
                shown(word)
            ),
        )
    })
}

fn release(node: &Node, reader: &mut Reader<'_>) -> Result<Option<CommandLine>, Problem> {
    let node = match &node.value {
        Value::Map(_) => match reader
            .fields(node, "`release`", keys::RELEASE)?
            .get("command")
        {
            Some(command) => command,
            None => return Ok(None),
        },
        _ => node,
    };
    shell_or_words(node, "`release`").map(Some)
}

/// An `environment` list; lists in lists are flattened, which is how anchors are combined.
pub(super) fn environment(node: &Node) -> Result<Vec<EnvRule>, Problem> {
    let mut rules = Vec::new();
    collect(node, 0, &mut rules)?;
    Ok(rules)
}

fn collect(node: &Node, depth: usize, rules: &mut Vec<EnvRule>) -> Result<(), Problem> {
    match &node.value {
        Value::List(items) if depth < LIST_DEPTH_MAX => items
            .iter()
            .try_for_each(|item| collect(item, depth + 1, rules)),
        Value::Scalar(_) if depth > 0 => {
            rules.push(
                rule(text(node, "a variable")?)
                    .map_err(|message| Problem::at(node.place, message))?,
            );
            Ok(())
        }
        _ => Err(Problem::at(
            node.place,
            "`environment` is a list: `- NAME` (required), `- NAME=default`, or `- \"*\"` for everything",
        )),
    }
}

fn rule(item: &str) -> Result<EnvRule, String> {
    if item == "*" {
        return Ok(EnvRule::All);
    }
    let (name, default) = match item.split_once('=') {
        Some((name, default)) => (name, Some(default)),
        None => (item, None),
    };
    super::check_env_name(name).map_err(|_| super::InvalidEnv::Name(shown(name)).to_string())?;
    Ok(match default {
        Some(default) => EnvRule::Default(name.to_owned(), default.to_owned()),
        None => EnvRule::Required(name.to_owned()),
    })
}
