//! `${NAME}`, `${NAME:-default}` and `$$` in values that were parsed already, so that no variable changes the structure.

use std::collections::BTreeMap;

use super::fields::{Problem, Reader};
use super::tree::{Node, Value};
use super::{Dialect, Place};

/// Keys whose single value is a shell's in `hoist.yml`: the shell replaces variables itself, when the process starts.
const SHELL_KEYS: [&str; 2] = ["command", "release"];

/// Replaces variables in every value below `node`; without `variables`, warns about what it would have replaced.
pub(super) fn apply(
    node: &mut Node,
    variables: Option<&BTreeMap<String, String>>,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    let place = node.place;
    match &mut node.value {
        Value::Null => Ok(()),
        Value::Scalar(text) => scalar(text, place, variables, reader),
        Value::List(items) => items
            .iter_mut()
            .try_for_each(|item| apply(item, variables, reader)),
        Value::Map(entries) => {
            for entry in entries {
                let shell = reader.dialect == Dialect::Hoist
                    && SHELL_KEYS.contains(&entry.key.as_str())
                    && matches!(entry.value.value, Value::Scalar(_));
                if !shell {
                    apply(&mut entry.value, variables, reader)?;
                }
            }
            Ok(())
        }
    }
}

fn scalar(
    text: &mut String,
    place: Place,
    variables: Option<&BTreeMap<String, String>>,
    reader: &mut Reader<'_>,
) -> Result<(), Problem> {
    if !text.contains('$') {
        return Ok(());
    }
    let Some(variables) = variables else {
        if text.contains("${") {
            reader.warn(
                place,
                format!("`{text}` is used as it stands: variables in it are not replaced here"),
            );
        }
        return Ok(());
    };
    let replaced = replace(text, variables).map_err(|message| Problem::at(place, message))?;
    for name in replaced.unset {
        reader.warn(
            place,
            format!("`{name}` is not set and has no default: nothing takes its place"),
        );
    }
    *text = replaced.text;
    Ok(())
}

struct Replaced {
    text: String,
    unset: Vec<String>,
}

fn replace(text: &str, variables: &BTreeMap<String, String>) -> Result<Replaced, String> {
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| {
                format!("`${{{after}` has no closing brace; write `$$` for a dollar sign")
            })?;
            let (name, default) = match after[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&after[..end], None),
            };
            super::check_env_name(name)
                .map_err(|error| format!("`${{{}}}`: {error}", &after[..end]))?;
            match variables
                .get(name)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
                .or(default)
            {
                Some(value) => out.push_str(value),
                None if variables.contains_key(name) => {}
                None => unset.push(name.to_owned()),
            }
            rest = &after[end + 1..];
        } else {
            // A dollar sign alone means itself, as in `$5` or `$HOME`.
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(Replaced { text: out, unset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<(String, Vec<String>), String> {
        let variables = BTreeMap::from([
            ("HOST".to_owned(), "a.example".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        replace(text, &variables).map(|replaced| (replaced.text, replaced.unset))
    }

    #[test]
    fn names_are_replaced_and_defaults_stand_in_for_unset_and_empty() {
        assert_eq!(with("x${HOST}y").unwrap().0, "xa.exampley");
        assert_eq!(with("${NO:-d}/${EMPTY:-e}/${EMPTY}").unwrap().0, "d/e/");
        assert_eq!(with("$$5 $5 $HOME $").unwrap().0, "$5 $5 $HOME $");
        assert_eq!(
            with("${NO}!").unwrap(),
            ("!".to_owned(), vec!["NO".to_owned()])
        );
    }

    #[test]
    fn what_is_not_a_name_is_an_error() {
        assert!(with("${HOST").unwrap_err().contains("closing brace"));
        assert!(with("${a b}").is_err());
        assert!(with("${}").is_err());
    }

    #[test]
    fn a_value_is_never_replaced_twice() {
        let variables = BTreeMap::from([
            ("A".to_owned(), "${B}".to_owned()),
            ("B".to_owned(), "no".to_owned()),
        ]);
        assert_eq!(replace("${A}", &variables).unwrap().text, "${B}");
    }
}
