//! Single values: durations, sizes, ports, percentages, paths and host names, each with the message that helps.

use super::fields::Problem;
use super::tree::{Node, Value};
use super::{CommandLine, Scheme};
use crate::model::Millis;

/// Longest duration that a manifest may ask for.
const DURATION_MAX: Millis = Millis::from_secs(7 * 24 * 3_600);

/// The text of a single value, as it was written.
pub(super) fn text<'n>(node: &'n Node, what: &str) -> Result<&'n str, Problem> {
    match &node.value {
        Value::Scalar(text) if text.contains('\0') => Err(Problem::at(
            node.place,
            format!("{what} contains a NUL byte"),
        )),
        Value::Scalar(text) => Ok(text),
        other => Err(Problem::at(
            node.place,
            format!("{what} must be a single value, not {}", other.kind()),
        )),
    }
}

pub(super) fn boolean(node: &Node, what: &str) -> Result<bool, Problem> {
    match text(node, what)?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        other => Err(Problem::at(
            node.place,
            format!("{what} is true or false, not `{}`", shown(other)),
        )),
    }
}

pub(super) fn whole(node: &Node, what: &str, max: u64) -> Result<u64, Problem> {
    let text = text(node, what)?;
    text.parse()
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| {
            Problem::at(
                node.place,
                format!(
                    "{what} is a whole number from 0 to {max}, not `{}`",
                    shown(text)
                ),
            )
        })
}

/// A number of seconds, or a number with `ms`, `s`, `m` or `h`.
pub(super) fn duration(node: &Node, what: &str) -> Result<Millis, Problem> {
    let text = text(node, what)?;
    parse_duration(text).filter(|length| *length <= DURATION_MAX).ok_or_else(|| {
        Problem::at(
            node.place,
            format!(
                "{what} is a number of seconds or like `500ms`, `30s`, `2m`, at most 7 days, not `{}`",
                shown(text)
            ),
        )
    })
}

/// As [`duration`], but zero would mean never or at once, which is not what anybody means.
pub(super) fn positive_duration(node: &Node, what: &str) -> Result<Millis, Problem> {
    let length = duration(node, what)?;
    if length.0 == 0 {
        return Err(Problem::at(
            node.place,
            format!("{what} must be more than 0"),
        ));
    }
    Ok(length)
}

fn parse_duration(text: &str) -> Option<Millis> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit = match text[split..].trim_start() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Millis)
}

/// A number of megabytes, or a number with `k`, `m`, `g` (and `b` behind it, if one likes).
pub(super) fn bytes(node: &Node, what: &str) -> Result<u64, Problem> {
    /// More than any machine has.
    const BYTES_MAX: u64 = 1 << 50;
    let text = text(node, what)?;
    parse_bytes(text)
        .filter(|bytes| *bytes <= BYTES_MAX)
        .ok_or_else(|| {
            Problem::at(
                node.place,
                format!(
                    "{what} is a number of megabytes or like `512m`, `2g`, not `{}`",
                    shown(text)
                ),
            )
        })
}

fn parse_bytes(text: &str) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit = match text[split..].trim_start().to_ascii_lowercase().as_str() {
        "k" | "kb" => 1 << 10,
        "" | "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

pub(super) fn port_number(node: &Node, what: &str) -> Result<u16, Problem> {
    parse_port(text(node, what)?).ok_or_else(|| Problem::at(node.place, port_message(node, what)))
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

pub(super) fn port_message(node: &Node, what: &str) -> String {
    let text = match &node.value {
        Value::Scalar(text) => shown(text),
        other => other.kind().to_owned(),
    };
    format!("{what} is a number from 1 to 65535, as in `3000` or `http:3000`, not `{text}`")
}

pub(super) fn scheme(node: &Node, text: &str) -> Result<Scheme, Problem> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        "grpc" => Ok(Scheme::Grpc),
        other => Err(Problem::at(
            node.place,
            format!(
                "`{}` is not a scheme: use http, https or grpc",
                shown(other)
            ),
        )),
    }
}

/// A path of a URL: begins with `/`, no white space.
pub(super) fn url_path(node: &Node, what: &str) -> Result<String, Problem> {
    let text = text(node, what)?;
    let fits = text.starts_with('/')
        && text.len() <= 2_048
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        Problem::at(
            node.place,
            format!(
                "{what} is a path like `/health`, without spaces, not `{}`",
                shown(text)
            ),
        )
    })
}

/// A command by `sh -c` (a single value) or as exact words (a list).
pub(super) fn shell_or_words(node: &Node, what: &str) -> Result<CommandLine, Problem> {
    if let Value::List(items) = &node.value {
        let words = items
            .iter()
            .map(|item| text(item, what).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        if words.first().is_none_or(String::is_empty) {
            return Err(Problem::at(
                node.place,
                format!("{what} has no program as its first word"),
            ));
        }
        return Ok(CommandLine::Words(words));
    }
    let line = text(node, what)?.trim();
    if line.is_empty() {
        return Err(Problem::at(node.place, format!("{what} is empty")));
    }
    Ok(CommandLine::Shell(line.to_owned()))
}

/// Own host names: a list, or one text with commas. Empty items are dropped.
pub(super) fn domains(node: &Node) -> Result<Vec<(String, &Node)>, Problem> {
    let nodes: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut found = Vec::new();
    for node in nodes {
        for host in text(node, "`domain`")?
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
        {
            found.push((host_name(node, host)?, node));
        }
    }
    Ok(found)
}

fn host_name(node: &Node, host: &str) -> Result<String, Problem> {
    let lower = host.to_ascii_lowercase();
    let bare = lower.strip_prefix("*.").unwrap_or(&lower);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if bare.len() > 253 || !bare.split('.').all(label) {
        return Err(Problem::at(
            node.place,
            format!(
                "`{}` is not a host name: write it like `www.example.com`, without scheme, port or path",
                shown(host)
            ),
        ));
    }
    Ok(lower)
}

/// Text of a manifest as it may stand in a message: short, on one line, without control characters.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        assert_eq!(parse_duration("30"), Some(Millis(30_000)));
        assert_eq!(parse_duration("30s"), Some(Millis(30_000)));
        assert_eq!(parse_duration("500ms"), Some(Millis(500)));
        assert_eq!(parse_duration("2 m"), Some(Millis(120_000)));
        assert_eq!(parse_duration("1h"), Some(Millis(3_600_000)));
        for bad in [
            "",
            "s",
            "-1",
            "1.5",
            "1d",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_megabytes_unless_they_say_otherwise() {
        assert_eq!(parse_bytes("512"), Some(512 << 20));
        assert_eq!(parse_bytes("2g"), Some(2 << 30));
        assert_eq!(parse_bytes("64 KB"), Some(64 << 10));
        assert_eq!(parse_bytes("1t"), None);
    }
}
