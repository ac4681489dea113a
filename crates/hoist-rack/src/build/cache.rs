//! What package tools keep from one build of an app to the next: a directory that only builds see.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hoist_core::detect;
use hoist_core::id::AppName;
use hoist_engine::Capabilities;
use tokio::sync::OwnedMutexGuard;

use crate::error::RackError;

/// Bytes that the cache of an app may have between builds.
pub(crate) const CACHE_BYTES_MAX: u64 = 4 << 30;
/// Where builds see it, in mount namespaces.
const INSIDE: &str = "/cache";
/// Where it is in the source directory, where nothing else can be given to the build's user.
const IN_TREE: &str = ".hoist-cache";

/// Lets builds of one app run one after the other: they share a cache.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    apps: Mutex<HashMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// The turn of an app, at once when nobody has it.
    pub(super) fn try_take(&self, app: &AppName) -> Option<OwnedMutexGuard<()>> {
        self.of(app).try_lock_owned().ok()
    }

    /// Waits for the turn of an app.
    pub(super) async fn take(&self, app: &AppName) -> OwnedMutexGuard<()> {
        self.of(app).lock_owned().await
    }

    fn of(&self, app: &AppName) -> Arc<tokio::sync::Mutex<()>> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        // Of apps that nobody builds nothing needs to be kept.
        apps.retain(|_, turn| Arc::strong_count(turn) > 1);
        apps.entry(app.clone()).or_default().clone()
    }
}

/// The cache of one build.
pub(super) struct Cache {
    /// Where it lies; nothing when it ends with the build.
    kept: Option<PathBuf>,
    /// Where the build sees it.
    seen: String,
    shown: bool,
}

impl Cache {
    /// Makes the directory ready for a build in `tree`.
    pub(super) fn prepare(
        dir: &Path,
        tree: &Path,
        engine: &Capabilities,
    ) -> Result<Self, RackError> {
        let has = |kind: &str| {
            let mut kinds = engine.isolation.iter();
            kinds.any(|isolation| isolation.kind == kind && isolation.present)
        };
        let shown = has("mount");
        // Another user's build without mounts reaches its own tree and nothing else.
        let in_tree = !shown && has("user");
        let dir = if in_tree {
            tree.join(IN_TREE)
        } else {
            dir.to_owned()
        };
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&dir);
        made.map_err(RackError::io("make the build cache"))?;
        Ok(Self {
            seen: if shown {
                INSIDE.to_owned()
            } else {
                dir.to_string_lossy().into_owned()
            },
            kept: (!in_tree).then_some(dir),
            shown,
        })
    }

    /// The variables that point package tools to it.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        detect::cache_env(&self.seen)
    }

    /// What the engine shows of it, and where.
    pub(super) fn volumes(&self) -> Vec<(PathBuf, String)> {
        let kept = self.kept.iter().filter(|_| self.shown);
        kept.map(|dir| (dir.clone(), INSIDE.to_owned())).collect()
    }

    /// Removes what must not stay; says so when that is all of it.
    pub(super) fn tidy(&self, tree: &Path) -> Option<String> {
        let Some(kept) = &self.kept else {
            let _ = fs::remove_dir_all(tree.join(IN_TREE));
            return None;
        };
        let bytes = size(kept, CACHE_BYTES_MAX);
        if bytes <= CACHE_BYTES_MAX {
            return None;
        }
        let _ = fs::remove_dir_all(kept);
        Some(format!(
            "the build cache was emptied: it had more than {} MB",
            CACHE_BYTES_MAX >> 20
        ))
    }
}

/// Bytes of all files below a directory; stops when they are more than `enough`.
fn size(dir: &Path, enough: u64) -> u64 {
    let mut bytes = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
            if bytes > enough {
                return bytes;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_engine::Isolation;

    fn engine(kinds: &[&'static str]) -> Capabilities {
        let isolation = |kind: &&'static str| Isolation {
            kind,
            present: true,
            by: String::new(),
        };
        Capabilities {
            isolation: kinds.iter().map(isolation).collect(),
            ..Capabilities::default()
        }
    }

    #[test]
    fn a_build_sees_its_cache_whatever_the_isolation() {
        let home = tempfile::tempdir().expect("a directory");
        let (dir, tree) = (home.path().join("cache"), home.path().join("tree"));
        let seen = |kinds: &[&'static str]| {
            let cache = Cache::prepare(&dir, &tree, &engine(kinds)).expect("prepared");
            let env = cache.env();
            let found = env.iter().find(|(name, _)| name == detect::CACHE_VARIABLE);
            let at = found.expect("told").1.clone();
            let volumes = cache.volumes().len();
            assert_eq!(cache.tidy(&tree), None);
            (at, volumes)
        };
        assert_eq!(seen(&["mount", "user"]), ("/cache".to_owned(), 1));
        assert_eq!(seen(&[]), (dir.to_string_lossy().into_owned(), 0));
        let (at, volumes) = seen(&["user"]);
        assert!(at.starts_with(&*tree.to_string_lossy()) && volumes == 0);
        assert!(!Path::new(&at).exists(), "it went into the slug");
    }

    #[test]
    fn sizes_are_summed_until_they_are_enough() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("a")).expect("made");
        for name in ["a/x", "a/y", "z"] {
            fs::write(dir.path().join(name), [0; 100]).expect("written");
        }
        assert_eq!(size(dir.path(), 1_000), 300);
        assert!(size(dir.path(), 150) > 150);
    }

    #[tokio::test]
    async fn builds_of_one_app_take_turns() {
        let turns = Turns::default();
        let (a, b) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        let first = turns.try_take(&a).expect("free");
        assert!(turns.try_take(&a).is_none());
        assert!(turns.try_take(&b).is_some());
        drop(first);
        drop(turns.take(&a).await);
    }
}
