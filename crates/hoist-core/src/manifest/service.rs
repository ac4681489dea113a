//! One service of a YAML manifest: every key that is read, with its forms and defaults.

use std::collections::BTreeSet;

use super::fields::{Fields, Problem, Reader};
use super::health::checks;
use super::keys;
use super::tree::{Node, Value};
use super::values::{
    boolean, bytes, domains, duration, parse_port, port_message, port_number, positive_duration,
    scheme, shell_or_words, shown, text, whole,
};
use super::volumes::volumes;
use super::yaml::environment;
use super::{CommandLine, Dialect, EnvRule, Port, Scheme, Service};
use crate::id::ServiceName;
use crate::limits;
use crate::model::Strategy;

/// Most processes of one service.
const COUNT_MAX: u64 = limits::COUNT_MAX as u64;

pub(super) fn read(
    name: &ServiceName,
    node: &Node,
    shared: Option<&[EnvRule]>,
    hosts: &mut BTreeSet<String>,
    reader: &mut Reader<'_>,
) -> Result<Service, Problem> {
    let owner = format!("service `{name}`");
    let fields = reader.fields(node, &owner, keys::SERVICE)?;
    let mut service = Service {
        image: fields.get("image").map(image).transpose()?,
        port: fields
            .get("port")
            .map(|node| port(node, reader))
            .transpose()?
            .flatten(),
        internal: flag(&fields, "internal")?,
        ..Service::default()
    };
    service.command = fields
        .get("command")
        .map(|node| command(node, reader))
        .transpose()?;
    if service.command.is_none() && service.image.is_none() {
        return Err(Problem::at(
            node.place,
            format!("{owner} has no `command`: say what its processes run"),
        ));
    }
    if let Some(node) = fields.get("ports") {
        service.ports = ports(node, service.port)?;
    }
    scale(&fields, &mut service, reader)?;
    environment_of(&fields, shared, &mut service)?;
    waits(&fields, &mut service, reader)?;
    checks(&fields, &mut service, reader)?;
    if let Some(node) = fields.get("volumes") {
        service.volumes = volumes(node, reader)?;
    }
    strategy(&fields, &mut service, reader)?;
    for (host, node) in fields
        .get("domain")
        .map(domains)
        .transpose()?
        .unwrap_or_default()
    {
        own_host(host, node, hosts, &mut service, reader)?;
    }
    image_build(&fields, reader)?;
    Ok(service)
}

pub(super) fn flag(fields: &Fields<'_>, key: &str) -> Result<bool, Problem> {
    fields
        .get(key)
        .map_or(Ok(false), |node| boolean(node, &format!("`{key}`")))
}

fn image(node: &Node) -> Result<String, Problem> {
    let image = text(node, "`image`")?;
    let fits = !image.is_empty()
        && image.len() <= 512
        && image.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| image.to_owned())
        .ok_or_else(|| Problem::at(node.place, "`image` is a reference like `redis:7`"))
}

/// In `convox.yml` a command is split like a shell would, but no shell runs it: so the words that only a shell
/// understands are passed on as they are, and the warning says how to get a shell.
fn command(node: &Node, reader: &mut Reader<'_>) -> Result<CommandLine, Problem> {
    let parsed = shell_or_words(node, "`command`")?;
    let (Dialect::Convox, CommandLine::Shell(line)) = (reader.dialect, &parsed) else {
        return Ok(parsed);
    };
    let words = shlex::split(line)
        .filter(|words| words.first().is_some_and(|first| !first.is_empty()))
        .ok_or_else(|| {
            Problem::at(
                node.place,
                "`command` has a quote that is not closed, or no program",
            )
        })?;
    if let Some(word) = words.iter().find(|word| needs_shell(word)) {
        // `sh -c '...'` has such words on purpose.
        let asks_for_shell = words.iter().any(|word| word == "-c" || word == "-lc");
        if !asks_for_shell {
            reader.warn(
                node.place,
                format!(
                    "no shell runs this command, so `{}` is passed as it stands: write `sh -c '...'` if a shell is meant",
                    shown(word)
                ),
            );
        }
    }
    Ok(CommandLine::Words(words))
}

fn needs_shell(word: &str) -> bool {
    matches!(
        word,
        "&&" | "||" | "|" | ";" | "&" | "<" | ">" | ">>" | "2>&1"
    ) || word.ends_with(';')
        || word.contains('`')
        || word.split('$').skip(1).any(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '('))
        })
}

/// A number, `scheme:number` or `{port, scheme}`.
fn port(node: &Node, reader: &mut Reader<'_>) -> Result<Option<Port>, Problem> {
    if matches!(node.value, Value::Map(_)) {
        let fields = reader.fields(node, "`port`", keys::PORT)?;
        let number = fields
            .get("port")
            .ok_or_else(|| Problem::at(node.place, "`port` as a map needs `port: {port: 3000}`"))?;
        let scheme = match fields.get("scheme") {
            Some(node) => scheme(node, text(node, "`scheme`")?)?,
            None => Scheme::Http,
        };
        return Ok(Some(Port {
            number: Some(port_number(number, "`port`")?),
            scheme,
        }));
    }
    let written = text(node, "`port`")?;
    let (scheme_name, number) = written.split_once(':').unwrap_or(("http", written));
    let scheme = scheme(node, scheme_name)?;
    let number =
        parse_port(number).ok_or_else(|| Problem::at(node.place, port_message(node, "`port`")))?;
    Ok(Some(Port {
        number: Some(number),
        scheme,
    }))
}

/// Numbers, or `number/protocol`; the main port is none of them.
fn ports(node: &Node, main: Option<Port>) -> Result<Vec<u16>, Problem> {
    let Value::List(items) = &node.value else {
        return Err(Problem::at(node.place, "`ports` is a list of numbers"));
    };
    let mut ports = Vec::new();
    for item in items {
        let written = text(item, "a port")?;
        let number = written
            .split_once('/')
            .map_or(written, |(number, _)| number);
        let number = parse_port(number)
            .ok_or_else(|| Problem::at(item.place, port_message(item, "a port")))?;
        if main.and_then(|main| main.number) != Some(number) && !ports.contains(&number) {
            ports.push(number);
        }
    }
    Ok(ports)
}

/// A number, `A-B`, or a map with `count`, `cpu`, `memory` and `limit`.
fn scale(
    fields: &Fields<'_>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    let Some(node) = fields.get("scale") else {
        return Ok(());
    };
    if !matches!(node.value, Value::Map(_)) {
        service.count = count(node, reader)?;
        return Ok(());
    }
    let scale = reader.fields(node, "`scale`", keys::SCALE)?;
    let least = scale.get("count").or_else(|| scale.get("min"));
    if let Some(node) = least {
        service.count = count(node, reader)?;
    }
    if let Some(max) = scale.get("max") {
        reader.warn(
            max.place,
            format!(
                "the number of processes is not changed automatically yet: {} start",
                service.count
            ),
        );
    }
    if let Some(node) = scale.get("memory") {
        service.memory_bytes = bytes(node, "`scale.memory`")?;
    }
    if let Some(node) = scale.get("cpu") {
        let cpu = millicores(node, "`scale.cpu`")?;
        // There, it is a reservation beside which `limit.cpu` limits; here it is the limit.
        if reader.dialect == Dialect::Hoist {
            service.cpu_millicores = cpu;
        } else if scale.get("limit").is_none() {
            reader.warn(
                node.place,
                "`scale.cpu` is ignored: CPU is not reserved yet; `scale.limit.cpu` limits it",
            );
        }
    }
    if let Some(node) = scale.get("limit") {
        let limit = reader.fields(node, "`scale.limit`", keys::LIMIT)?;
        if let Some(node) = limit.get("cpu") {
            service.cpu_millicores = millicores(node, "`scale.limit.cpu`")?;
        }
        if let Some(node) = limit.get("memory") {
            service.memory_bytes = bytes(node, "`scale.limit.memory`")?;
        }
    }
    Ok(())
}

fn millicores(node: &Node, what: &str) -> Result<u32, Problem> {
    whole(node, what, limits::CPU_MILLICORES_MAX.into())
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn count(node: &Node, reader: &mut Reader<'_>) -> Result<u16, Problem> {
    let what = "the number of processes";
    if matches!(node.value, Value::Map(_)) {
        let range = reader.fields(node, "`count`", keys::RANGE)?;
        let max = range
            .get("max")
            .map(|node| whole(node, what, COUNT_MAX))
            .transpose()?;
        let min = range
            .get("min")
            .map_or(Ok(1), |node| whole(node, what, COUNT_MAX))?;
        return range_start(node, min, max, reader);
    }
    let written = text(node, what)?;
    if let Some((min, max)) = written.split_once('-').filter(|(min, _)| !min.is_empty()) {
        let number = |text: &str| {
            text.trim()
                .parse::<u64>()
                .ok()
                .filter(|number| *number <= COUNT_MAX)
        };
        if let (Some(min), Some(max)) = (number(min), number(max)) {
            return range_start(node, min, Some(max), reader);
        }
    }
    whole(node, what, COUNT_MAX).map(|number| number as u16)
}

fn range_start(
    node: &Node,
    min: u64,
    max: Option<u64>,
    reader: &mut Reader<'_>,
) -> Result<u16, Problem> {
    if max.is_some_and(|max| max < min) {
        return Err(Problem::at(
            node.place,
            "the largest number of processes is below the smallest",
        ));
    }
    if max != Some(min) {
        reader.warn(
            node.place,
            format!("the number of processes is not changed automatically yet: {min} start"),
        );
    }
    Ok(min as u16)
}

fn environment_of(
    fields: &Fields<'_>,
    shared: Option<&[EnvRule]>,
    service: &mut Service,
) -> Result<(), Problem> {
    let own = fields.get("environment").map(environment).transpose()?;
    if shared.is_some() || own.is_some() {
        service.environment = shared.unwrap_or_default().to_vec();
        service.environment.extend(own.unwrap_or_default());
    }
    Ok(())
}

/// `timeout`, `drain` and `termination.grace`.
fn waits(
    fields: &Fields<'_>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    if let Some(node) = fields.get("timeout") {
        service.timeout = positive_duration(node, "`timeout`")?;
    }
    if let Some(node) = fields.get("drain") {
        service.drain_limit = duration(node, "`drain`")?;
    }
    if let Some(node) = fields.get("termination") {
        let termination = reader.fields(node, "`termination`", keys::TERMINATION)?;
        if let Some(node) = termination.get("grace") {
            service.stop_grace = duration(node, "`termination.grace`")?;
        }
    }
    Ok(())
}

/// What must not run twice is replaced; everything else surges.
fn strategy(
    fields: &Fields<'_>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    let mut replace =
        flag(fields, "singleton")? || service.volumes.iter().any(|volume| volume.exclusive);
    if let Some(node) = fields.get("deployment") {
        let deployment = reader.fields(node, "`deployment`", keys::DEPLOYMENT)?;
        let percent = |key: &str, least: u64, most: u64| {
            deployment
                .get(key)
                .map(|node| {
                    let text = text(node, "a percentage")?.trim_end_matches('%');
                    text.parse::<u64>()
                        .ok()
                        .filter(|number| (least..=most).contains(number))
                        .ok_or_else(|| {
                            Problem::at(
                                node.place,
                                format!(
                                    "`deployment.{key}` is a percentage from {least} to {most}"
                                ),
                            )
                        })
                })
                .transpose()
        };
        let minimum = percent("minimum", 0, 100)?;
        let maximum = percent("maximum", 100, 200)?;
        if maximum == Some(100) {
            replace = true;
        } else if maximum.is_some_and(|maximum| maximum != 200)
            || minimum.is_some_and(|minimum| minimum != 100)
        {
            reader.warn(
                node.place,
                "these percentages are not acted on yet: all new processes start beside the old, then traffic moves",
            );
        }
    }
    if let Some(node) = fields.get("agent")
        && boolean(node, "`agent`")?
    {
        reader.warn(
            node.place,
            "`agent` is ignored: there is one machine, which runs `scale.count` processes",
        );
    }
    service.strategy = if replace {
        Strategy::Replace
    } else {
        Strategy::Surge
    };
    Ok(())
}

fn own_host(
    host: String,
    node: &Node,
    hosts: &mut BTreeSet<String>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    if !hosts.insert(host.clone()) {
        return Err(Problem::at(
            node.place,
            format!("the domain `{host}` stands in the manifest twice"),
        ));
    }
    if host.starts_with("*.") {
        reader.warn(
            node.place,
            format!("`{host}` is ignored: wildcard domains are not routed yet"),
        );
    } else if service.port.is_none() {
        reader.warn(
            node.place,
            format!("`{host}` is ignored: the service has no `port`"),
        );
    } else if service.internal {
        reader.warn(
            node.place,
            format!("`{host}` is ignored: the service is internal"),
        );
    } else {
        service.domains.push(host);
    }
    Ok(())
}

/// A service's `build` is about an image. `.` says nothing that is not so anyway.
fn image_build(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let Some(node) = fields.get("build") else {
        return Ok(());
    };
    match &node.value {
        Value::Scalar(path) if path == "." => Ok(()),
        Value::Scalar(_) => {
            reader.warn(
                node.place,
                "`build` is ignored: the whole source directory is built, once for all services",
            );
            Ok(())
        }
        Value::Map(_) => {
            let fields = reader.fields(node, "`build` of a service", keys::BUILD)?;
            if let Some(command) = fields.get("command") {
                return Err(Problem::at(
                    command.place,
                    "`build.command` belongs at the top of hoist.yml: one build serves all services",
                ));
            }
            Ok(())
        }
        other => Err(Problem::at(
            node.place,
            format!("`build` is a path or a map, not {}", other.kind()),
        )),
    }
}
