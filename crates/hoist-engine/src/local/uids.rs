//! One unprivileged user per app, from a recorded range: whose files and processes are whose.
//!
//! Recorded for ever, because files of a deleted app's volumes still belong to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use hoist_core::id::AppName;

/// The user of an app; the next free one from `first` when it has none yet.
pub(super) fn of(path: &Path, app: &AppName, first: u32) -> io::Result<u32> {
    let mut users = read(path)?;
    if let Some(uid) = users.get(app.as_str()) {
        return Ok(*uid);
    }
    let uid = users
        .values()
        .max()
        .map_or(first, |last| first.max(last + 1));
    users.insert(app.as_str().to_owned(), uid);
    write(path, &users)?;
    Ok(uid)
}

fn read(path: &Path) -> io::Result<BTreeMap<String, u32>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read?,
    };
    let line = |line: &str| {
        let (uid, app) = line.split_once(' ')?;
        Some((app.to_owned(), uid.parse().ok()?))
    };
    let parsed: Option<_> = text.lines().map(line).collect();
    parsed.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged", path.display()),
        )
    })
}

fn write(path: &Path, users: &BTreeMap<String, u32>) -> io::Result<()> {
    use std::io::Write as _;
    let half = path.with_extension("tmp");
    let mut file = fs::File::create(&half)?;
    for (app, uid) in users {
        writeln!(file, "{uid} {app}")?;
    }
    file.sync_all()?;
    fs::rename(half, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_keeps_its_user_and_shares_it_with_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uids");
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(of(&path, &a, 700_000).unwrap(), 700_000);
        assert_eq!(of(&path, &b, 700_000).unwrap(), 700_001);
        assert_eq!(of(&path, &a, 700_000).unwrap(), 700_000);
        assert_eq!(of(&path, &a, 800_000).unwrap(), 700_000);
        fs::write(&path, "nonsense\n").unwrap();
        assert!(of(&path, &a, 700_000).is_err());
    }
}
