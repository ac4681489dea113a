//! YAML as a tree in which every key and value knows its line, and scalars keep the text that was written.
//!
//! The text is kept because YAML's own types lose it: `1.10` is a number, `yes` a boolean, and both may be meant as
//! text. What a scalar is, the key that takes it decides. Size, depth and repetition are bounded while parsing.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::{ManifestError, Place};

/// Deepest nesting of a manifest.
const DEPTH_MAX: usize = 24;
/// Most nodes, after aliases are followed.
const NODES_MAX: usize = 20_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Parses YAML of one document.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, ManifestError> {
    let spanned: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| syntax(file, text, &error))?;
    let mut nodes = 0;
    node(spanned, text, &mut nodes).map_err(|problem| ManifestError::Syntax {
        file: file.to_owned(),
        snippet: problem.place.snippet(text),
        place: problem.place,
        message: problem.message.to_owned(),
    })
}

fn options() -> serde_saphyr::Options {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = DEPTH_MAX;
    budget.flow_nesting_limit = DEPTH_MAX;
    budget.max_nodes = NODES_MAX;
    budget.max_events = 4 * NODES_MAX;
    budget.max_aliases = 1_000;
    budget.max_anchors = 1_000;
    budget.max_documents = 1;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = 4 * NODES_MAX;
    options.alias_limits.max_replay_stack_depth = DEPTH_MAX;
    options.with_snippet = false;
    options
}

fn syntax(file: &str, text: &str, error: &serde_saphyr::Error) -> ManifestError {
    let place = error
        .location()
        .filter(|location| location.line() > 0)
        .map_or(Place::WholeFile, |location| Place::At {
            line: u32::try_from(location.line()).unwrap_or(u32::MAX),
            column: u32::try_from(location.column()).unwrap_or(u32::MAX),
        });
    if let Some(message) = not_ours(error.without_snippet()) {
        return ManifestError::Invalid {
            file: file.to_owned(),
            place,
            message: super::error::one_line(&message),
            snippet: place.snippet(text),
        };
    }
    let rendered = error.without_snippet().to_string();
    // The place has its own field; the parser's text repeats it at the end.
    let message = rendered
        .lines()
        .next()
        .and_then(|line| line.split(" at line ").next())
        .unwrap_or("not YAML");
    ManifestError::Syntax {
        file: file.to_owned(),
        place,
        message: super::error::one_line(message),
        snippet: place.snippet(text),
    }
}

/// What to say of YAML that is right as such, and not a manifest; the parser's own words for it are for programmers.
fn not_ours(error: &serde_saphyr::Error) -> Option<String> {
    use serde_saphyr::{Error, budget::BudgetBreach as Breach};
    let deep = || format!("nested deeper than {DEPTH_MAX} levels");
    Some(match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{key}` stands here twice: keep one")
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key stands here twice".to_owned(),
        Error::Budget { breach, .. } => match breach {
            Breach::Documents { .. } => {
                "a second document begins here: a manifest is one".to_owned()
            }
            Breach::Depth { .. } => deep(),
            _ => format!("more than {NODES_MAX} values, after aliases are followed"),
        },
        Error::AliasReplayStackDepthExceeded { .. } => deep(),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            format!("more than {NODES_MAX} values, after aliases are followed")
        }
        Error::AliasError { error, .. } => return not_ours(error),
        Error::UnknownAnchor { .. } => "no anchor of this name stands before it".to_owned(),
        other if other.to_string().starts_with("recursion limit") => deep(),
        _ => return None,
    })
}

struct Problem {
    place: Place,
    message: &'static str,
}

fn node(spanned: Spanned<Raw>, text: &str, nodes: &mut usize) -> Result<Node, Problem> {
    let place = Place::At {
        line: u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX),
        column: u32::try_from(spanned.referenced.column()).unwrap_or(u32::MAX),
    };
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(Problem {
            place,
            message: "too many values, after aliases are followed",
        });
    }
    let value = match spanned.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Other(fallback) => {
            let span = spanned.defined.span();
            let written = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(start, length)| {
                    let start = usize::try_from(start).ok()?;
                    text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
                });
            Value::Scalar(written.map_or(fallback, |written| written.trim().to_owned()))
        }
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| node(item, text, nodes))
                .collect::<Result<_, _>>()?,
        ),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| entry(key, value, text, nodes))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Node { place, value })
}

fn entry(
    key: Spanned<Raw>,
    value: Spanned<Raw>,
    text: &str,
    nodes: &mut usize,
) -> Result<Entry, Problem> {
    let key = node(key, text, nodes)?;
    let Value::Scalar(name) = key.value else {
        return Err(Problem {
            place: key.place,
            message: "a key must be a name",
        });
    };
    Ok(Entry {
        key: name,
        place: key.place,
        value: node(value, text, nodes)?,
    })
}

/// A value as the parser hands it over.
enum Raw {
    Null,
    Text(String),
    /// A number or boolean; the text is used where the source is not at hand.
    Other(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
