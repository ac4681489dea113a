//! Slugs and build logs on the disk: what they take, what has no record, and how they go.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hoist_core::id::{AppName, BuildId};

use crate::layout::Layout;

/// The end of a build log's name.
const LOG: &str = "log";

/// Builds of which an app has files that were there before a moment of the wall clock, in milliseconds.
///
/// What is younger may belong to a build whose record is about to be written.
pub(super) fn builds_before(layout: &Layout, app: &AppName, before_ms: u64) -> Vec<BuildId> {
    let mut found = Vec::new();
    for dir in directories(layout, app) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let changed = fs::symlink_metadata(&path).map(|meta| {
                let milliseconds = meta.ctime() * 1_000 + meta.ctime_nsec() / 1_000_000;
                milliseconds.max(0) as u64
            });
            if changed.is_ok_and(|at| at < before_ms)
                && let Some(id) = build_of(&path)
            {
                found.push(id);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Where the files of an app's builds are: slugs, then logs.
fn directories(layout: &Layout, app: &AppName) -> [PathBuf; 2] {
    let app = layout.app(app);
    [app.join("slugs"), app.join("builds")]
}

/// The build that a slug or a log is of.
fn build_of(path: &Path) -> Option<BuildId> {
    let log = path.extension().is_some_and(|end| end == LOG);
    let name = match log {
        true => path.file_stem(),
        false => path.file_name(),
    };
    name?.to_str()?.parse().ok()
}

/// The files of a build, there or not.
fn files_of(layout: &Layout, app: &AppName, build: &BuildId) -> [PathBuf; 2] {
    [layout.slug(app, build), layout.build_log(app, build)]
}

/// Bytes that a build takes on the disk.
pub(super) fn size(layout: &Layout, app: &AppName, build: &BuildId) -> u64 {
    let mut linked = HashSet::new();
    let files = files_of(layout, app, build);
    files.iter().map(|path| taken(path, &mut linked)).sum()
}

/// Blocks of a file or of all below a directory; one with several names counts once.
fn taken(path: &Path, linked: &mut HashSet<(u64, u64)>) -> u64 {
    let mut bytes = 0;
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        } else if meta.nlink() > 1 && !linked.insert((meta.dev(), meta.ino())) {
            continue;
        }
        bytes += meta.blocks() * 512;
    }
    bytes
}

/// Removes the files of a build, and says how many bytes they took. Idempotent; what is not there is removed already.
///
/// They leave their place at once: a crash leaves the rest in the scratch directory, which each start sweeps.
pub(super) fn remove(layout: &Layout, app: &AppName, build: &BuildId) -> io::Result<u64> {
    let bytes = size(layout, app, build);
    for (path, end) in files_of(layout, app, build).iter().zip(["slug", LOG]) {
        let aside = layout.scratch().join(format!("{app}.{build}.{end}"));
        match fs::rename(path, &aside) {
            Ok(()) => remove_all(&aside)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn remove_all(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    fs::remove_dir_all(path).or_else(|_| {
        // Package tools leave directories that their owner must not write in.
        open_up(path);
        fs::remove_dir_all(path)
    })
}

fn open_up(path: &Path) {
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        _dir: tempfile::TempDir,
        layout: Layout,
        app: AppName,
        build: BuildId,
    }

    fn world() -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let app: AppName = "shop".parse().expect("a name");
        let build: BuildId = "BABCDEFGHIJ".parse().expect("an id");
        fs::create_dir_all(layout.slug(&app, &build).join("bin")).expect("made");
        fs::create_dir_all(layout.scratch()).expect("made");
        let log = layout.build_log(&app, &build);
        fs::create_dir_all(log.parent().expect("a parent")).expect("made");
        fs::write(log, [b'x'; 5_000]).expect("written");
        World {
            _dir: dir,
            layout,
            app,
            build,
        }
    }

    #[test]
    fn what_a_build_takes_is_counted_once_and_freed() {
        let World {
            layout, app, build, ..
        } = &world();
        let without = size(layout, app, build);
        let slug = layout.slug(app, build);
        fs::write(slug.join("bin/a"), vec![1; 1 << 20]).expect("written");
        fs::hard_link(slug.join("bin/a"), slug.join("bin/b")).expect("linked");
        std::os::unix::fs::symlink("/", slug.join("root")).expect("linked");
        let bytes = size(layout, app, build);
        assert!((1 << 20..(1 << 20) + 65_536).contains(&(bytes - without)));
        fs::set_permissions(slug.join("bin"), fs::Permissions::from_mode(0o500)).expect("set");
        assert_eq!(remove(layout, app, build).expect("removed"), bytes);
        assert!(!slug.exists() && !layout.build_log(app, build).exists());
        let left = fs::read_dir(layout.scratch()).expect("read").count();
        assert_eq!(left, 0, "and nothing is left aside");
        assert_eq!(remove(layout, app, build).expect("nothing to do"), 0);
    }

    #[test]
    fn files_are_found_by_their_build_once_they_are_old_enough() {
        let World {
            layout, app, build, ..
        } = &world();
        fs::write(layout.app(app).join("slugs/notes"), "").expect("written");
        let now = crate::clock::wall().0;
        assert_eq!(
            builds_before(layout, app, now + 60_000),
            std::slice::from_ref(build)
        );
        assert!(builds_before(layout, app, now.saturating_sub(60_000)).is_empty());
        let other: AppName = "blog".parse().expect("a name");
        assert!(builds_before(layout, &other, now + 60_000).is_empty());
    }
}
