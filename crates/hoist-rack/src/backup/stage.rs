//! Where a rack is put together before it is moved to its place: a directory beside it, locked by who fills it. What a restore
//! left that was killed is not locked any more, and goes.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::archive::remove_tree;

/// A directory that goes unless it is moved to its place.
pub(super) struct Stage {
    path: PathBuf,
    /// Open, and so locked, as long as it is filled.
    held: File,
}

impl Stage {
    pub(super) fn beside(data_dir: &Path) -> Result<Self, BackupError> {
        let doing = || BackupError::io("make a directory beside the data directory");
        let name = format!("{}{}", prefix(data_dir), std::process::id());
        let path = data_dir.with_file_name(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(doing())?;
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(&path).map_err(doing())?;
        let held = File::open(&path).map_err(doing())?;
        held.try_lock().map_err(|error| doing()(error.into()))?;
        Ok(Self { path, held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn move_to(self, data_dir: &Path) -> Result<(), BackupError> {
        let doing = || BackupError::io(format!("move what was restored to {}", data_dir.display()));
        // Everything is on disk before it has its name.
        nix::unistd::syncfs(&self.held).map_err(|errno| doing()(errno.into()))?;
        fs::rename(&self.path, data_dir).map_err(doing())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// Removes what restores into this directory left that did not come to their end.
pub(crate) fn sweep(data_dir: &Path) {
    let parent = match data_dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let prefix = prefix(data_dir);
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if process.is_none_or(|process| process.parse::<u32>().is_err()) {
            continue;
        }
        let path = entry.path();
        if File::open(&path).is_ok_and(|left| left.try_lock().is_ok()) {
            tracing::info!(path = %path.display(), "removing what a restore left");
            let _ = remove_tree(&path);
        }
    }
}

fn prefix(data_dir: &Path) -> String {
    let name = data_dir.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.restore-")
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_killed_restore_left_goes_and_one_that_runs_stays() {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        let left = home.path().join(".data.restore-1");
        fs::create_dir_all(left.join("slugs/shop")).expect("made");
        fs::write(left.join("slugs/shop/app"), "x").expect("written");
        let closed = Permissions::from_mode(0o500);
        fs::set_permissions(left.join("slugs/shop"), closed).expect("a mode");
        for other in [".data.restore-mine", ".other.restore-1", "data.restore-1"] {
            fs::create_dir(home.path().join(other)).expect("made");
        }
        let stage = Stage::beside(&data).expect("a stage");
        sweep(&data);
        assert!(!left.exists(), "what is left of a killed restore");
        assert!(stage.path().exists(), "another restore runs");
        let path = stage.path().to_owned();
        drop(stage);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(home.path()).expect("read").count(), 3);
    }

    #[test]
    fn what_is_moved_is_not_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        let stage = Stage::beside(&data).expect("a stage");
        fs::write(stage.path().join("key"), "x").expect("written");
        stage.move_to(&data).expect("moved");
        assert!(data.join("key").exists());
        assert_eq!(fs::read_dir(home.path()).expect("read").count(), 1);
    }
}
