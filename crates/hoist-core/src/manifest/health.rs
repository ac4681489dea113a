//! How processes are asked: `health` says when they may take requests, `startup` and `startupProbe` what is asked until the
//! first good answer, `liveness` when one is started again.

use super::fields::{Fields, Problem, Reader};
use super::keys;
use super::service::flag;
use super::tree::{Node, Value};
use super::values::{duration, positive_duration, shell_or_words, url_path, whole};
use super::{Check, Dialect, Health, Liveness, Service, Startup};
use crate::limits;
use crate::model::Millis;

/// Most failures or good answers in a row that a check may wait for.
const TIMES_MAX: u64 = 1_000;

/// Reads `startup`, `startupProbe`, `health` and `liveness` of a service.
pub(super) fn checks(
    fields: &Fields<'_>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    if let Some(node) = fields
        .get("startup")
        .filter(|_| reader.dialect == Dialect::Hoist)
    {
        startup(node, service, reader)?;
    }
    if let Some(node) = fields.get("health") {
        health(node, service, reader)?;
    }
    let live = fields.get("liveness");
    if let Some(node) = live {
        liveness(node, service, reader)?;
    }
    if let Some(node) = fields.get("startupProbe") {
        startup_probe(node, live, service, reader)?;
    }
    Ok(())
}

/// A path, a command, or neither.
fn question(fields: &Fields<'_>, owner: &str, dialect: Dialect) -> Result<Option<Check>, Problem> {
    let path = fields.get("path");
    // As everywhere, it is no key of `convox.yml`.
    let command = fields.get("command").filter(|_| dialect == Dialect::Hoist);
    Ok(match (path, command) {
        (Some(_), Some(command)) => {
            return Err(Problem::at(
                command.place,
                format!("`{owner}` has a path and a command: keep one"),
            ));
        }
        (Some(path), None) => Some(Check::Path(url_path(path, &format!("`{owner}.path`"))?)),
        (None, Some(command)) => {
            let command = shell_or_words(command, &format!("`{owner}.command`"))?;
            Some(Check::Command(command))
        }
        (None, None) => None,
    })
}

fn time(fields: &Fields<'_>, owner: &str, key: &str) -> Result<Option<Millis>, Problem> {
    let named = format!("`{owner}.{key}`");
    fields
        .get(key)
        .map(|node| positive_duration(node, &named))
        .transpose()
}

fn times(fields: &Fields<'_>, owner: &str, key: &str) -> Result<Option<u32>, Problem> {
    let Some(node) = fields.get(key) else {
        return Ok(None);
    };
    let number = whole(node, &format!("`{owner}.{key}`"), TIMES_MAX)?;
    match number {
        0 => Err(Problem::at(
            node.place,
            format!("`{owner}.{key}` is at least 1"),
        )),
        number => Ok(u32::try_from(number).ok()),
    }
}

/// A duration: how long the start may take. Or a map: what is asked until the first good answer.
fn startup(node: &Node, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    if matches!(node.value, Value::Scalar(_)) {
        service.start_limit = positive_duration(node, "`startup`")?;
        return Ok(());
    }
    let fields = reader.fields(node, "`startup`", keys::STARTUP)?;
    if let Some(limit) = time(&fields, "startup", "grace")? {
        service.start_limit = limit;
    }
    if let Some(check) = question(&fields, "startup", reader.dialect)? {
        service.startup = Some(Startup {
            check,
            interval: time(&fields, "startup", "interval")?,
            timeout: time(&fields, "startup", "timeout")?.unwrap_or(limits::HEALTH_TIMEOUT),
        });
    }
    portless(node, service, "startup", reader);
    Ok(())
}

/// As Convox has it: a path, or a port that accepts. What it lacks it has from `liveness`. A start may take as long as the
/// checks together, and never less than the default.
fn startup_probe(
    node: &Node,
    live: Option<&Node>,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    let owner = "startupProbe";
    let fields = reader.fields(node, "`startupProbe`", keys::STARTUP_PROBE)?;
    let check = match (
        question(&fields, owner, reader.dialect)?,
        fields.get("tcpSocketPort"),
    ) {
        (Some(check), _) => check,
        (None, Some(_)) => Check::Disabled,
        (None, None) => return Ok(()),
    };
    let from = service.liveness.as_ref().filter(|_| live.is_some());
    let grace = fields
        .get("grace")
        .map(|node| duration(node, "`startupProbe.grace`"))
        .transpose()?;
    let grace = grace.or(from.map(|live| live.grace)).unwrap_or_default();
    let interval = time(&fields, owner, "interval")?.or(from.map(|live| live.interval));
    let timeout = time(&fields, owner, "timeout")?.or(from.map(|live| live.timeout));
    let failures = times(&fields, owner, "failureThreshold")?.or(from.map(|live| live.failures));
    let every = interval.unwrap_or(limits::LIVENESS_INTERVAL);
    let whole = every
        .0
        .saturating_mul(failures.unwrap_or(limits::LIVENESS_FAILURES).into());
    service.start_limit = service
        .start_limit
        .max(Millis(grace.0.saturating_add(whole)));
    service.startup = Some(Startup {
        check,
        interval,
        timeout: timeout.unwrap_or(limits::LIVENESS_TIMEOUT),
    });
    portless(node, service, owner, reader);
    Ok(())
}

/// A path, or a map with a path or a command.
fn liveness(node: &Node, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    let mut live = Liveness::default();
    if matches!(node.value, Value::Scalar(_)) {
        live.check = Check::Path(url_path(node, "`liveness`")?);
    } else {
        let owner = "liveness";
        let fields = reader.fields(node, "`liveness`", keys::LIVENESS)?;
        let Some(check) = question(&fields, owner, reader.dialect)? else {
            reader.warn(
                node.place,
                "`liveness` without a path or a command asks nothing",
            );
            return Ok(());
        };
        let grace = fields
            .get("grace")
            .map(|node| duration(node, "`liveness.grace`"))
            .transpose()?;
        live = Liveness {
            check,
            grace: grace.unwrap_or(live.grace),
            interval: time(&fields, owner, "interval")?.unwrap_or(live.interval),
            timeout: time(&fields, owner, "timeout")?.unwrap_or(live.timeout),
            failures: times(&fields, owner, "failureThreshold")?.unwrap_or(live.failures),
            successes: times(&fields, owner, "successThreshold")?.unwrap_or(live.successes),
        };
    }
    service.liveness = Some(live);
    portless(node, service, "liveness", reader);
    Ok(())
}

/// A service without a port cannot be asked by path.
fn portless(node: &Node, service: &mut Service, owner: &str, reader: &mut Reader<'_>) {
    if service.port.is_some() {
        return;
    }
    let asks = |check: &Check| matches!(check, Check::Path(_) | Check::Disabled);
    let startup =
        owner != "liveness" && service.startup.as_ref().is_some_and(|own| asks(&own.check));
    let liveness = owner == "liveness"
        && service
            .liveness
            .as_ref()
            .is_some_and(|own| asks(&own.check));
    if startup {
        service.startup = None;
    }
    if liveness {
        service.liveness = None;
    }
    if startup || liveness {
        reader.warn(
            node.place,
            format!("`{owner}` is ignored: the service has no `port` to ask; a command can be run instead"),
        );
    }
}

/// A path, or a map. `grace` limits the start in `hoist.yml`; in `convox.yml` it is a pause before the first check, so
/// there it only ever gives more time than the default, never less.
fn health(node: &Node, service: &mut Service, reader: &mut Reader<'_>) -> Result<(), Problem> {
    if matches!(node.value, Value::Scalar(_)) {
        service.health.check = Check::Path(url_path(node, "`health`")?);
        return routed_check(node, service, reader);
    }
    let fields = reader.fields(node, "`health`", keys::HEALTH)?;
    let command = fields
        .get("command")
        .filter(|_| reader.dialect == Dialect::Hoist);
    let path = fields.get("path");
    if let (Some(_), Some(command)) = (path, command) {
        return Err(Problem::at(
            command.place,
            "`health` has a path and a command: keep one",
        ));
    }
    let mut check = Check::Unset;
    if let Some(node) = path {
        check = Check::Path(url_path(node, "`health.path`")?);
    }
    if let Some(node) = command {
        check = Check::Command(shell_or_words(node, "`health.command`")?);
    }
    if flag(&fields, "disable")? {
        check = Check::Disabled;
    }
    let interval = fields
        .get("interval")
        .map(|node| positive_duration(node, "`health.interval`"))
        .transpose()?;
    let timeout = fields
        .get("timeout")
        .map(|node| positive_duration(node, "`health.timeout`"))
        .transpose()?;
    service.health = Health {
        check,
        interval: interval.unwrap_or(limits::HEALTH_INTERVAL),
        timeout: timeout
            .unwrap_or_else(|| interval.map_or(limits::HEALTH_TIMEOUT, default_timeout)),
    };
    if let Some(node) = fields.get("grace") {
        let grace = positive_duration(node, "`health.grace`")?;
        service.start_limit = match reader.dialect {
            Dialect::Convox => service.start_limit.max(grace),
            _ => grace,
        };
    }
    routed_check(node, service, reader)
}

/// A second less than the interval, as people who set only the interval expect; never below a second.
fn default_timeout(interval: Millis) -> Millis {
    Millis(interval.0.saturating_sub(1_000).max(1_000))
}

fn routed_check(
    node: &Node,
    service: &mut Service,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    if service.port.is_none() && matches!(service.health.check, Check::Path(_)) {
        reader.warn(
            node.place,
            "the health path is ignored: the service has no `port` to ask",
        );
        service.health.check = Check::Unset;
    }
    Ok(())
}
