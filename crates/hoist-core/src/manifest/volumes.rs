//! `volumes`: directories of the app that outlive its processes.

use super::Volume;
use super::fields::{Problem, Reader};
use super::keys;
use super::tree::{Node, Value};
use super::values::{boolean, shown, text};

/// `name:/path`, or in `hoist.yml` `{name, path, exclusive}`.
pub(super) fn volumes(node: &Node, reader: &mut Reader<'_>) -> Result<Vec<Volume>, Problem> {
    let Value::List(items) = &node.value else {
        return Err(Problem::at(
            node.place,
            "`volumes` is a list like `- data:/var/data`",
        ));
    };
    let mut volumes: Vec<Volume> = Vec::new();
    for item in items {
        let Some(volume) = volume(item, reader)? else {
            continue;
        };
        if volumes
            .iter()
            .any(|other| other.path == volume.path || other.name == volume.name)
        {
            return Err(Problem::at(
                item.place,
                format!(
                    "volume `{}` or its path stands in the list twice",
                    volume.name
                ),
            ));
        }
        volumes.push(volume);
    }
    Ok(volumes)
}

fn volume(item: &Node, reader: &mut Reader<'_>) -> Result<Option<Volume>, Problem> {
    let (name, path, exclusive) = if matches!(item.value, Value::Map(_)) {
        let fields = reader.fields(item, "a volume", keys::VOLUME)?;
        let part = |key: &str| {
            fields
                .get(key)
                .ok_or_else(|| Problem::at(item.place, format!("a volume needs `{key}`")))
                .and_then(|node| text(node, &format!("`{key}` of a volume")))
        };
        (
            part("name")?,
            part("path")?,
            fields
                .get("exclusive")
                .map_or(Ok(false), |node| boolean(node, "`exclusive`"))?,
        )
    } else {
        let written = text(item, "a volume")?;
        let Some((name, path)) = written.split_once(':') else {
            reader.warn(
                item.place,
                format!(
                    "`{}` has no name and ends with its process: write `data:{0}` to keep it",
                    shown(written)
                ),
            );
            return Ok(None);
        };
        (name, path, false)
    };
    let well_named = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !well_named {
        return Err(Problem::at(
            item.place,
            format!(
                "`{}` is not a volume's name: use letters, digits, `-`, `_` and `.`; directories of the machine are not mounted",
                shown(name)
            ),
        ));
    }
    let parts = || path.split('/').skip(1).filter(|part| !part.is_empty());
    if !path.starts_with('/')
        || parts().next().is_none()
        || parts().any(|part| part == "." || part == "..")
    {
        return Err(Problem::at(
            item.place,
            format!(
                "`{}` is not where a volume can be: write an absolute path without `.` and `..`",
                shown(path)
            ),
        ));
    }
    Ok(Some(Volume {
        name: name.to_owned(),
        path: format!("/{}", parts().collect::<Vec<_>>().join("/")),
        exclusive,
    }))
}
