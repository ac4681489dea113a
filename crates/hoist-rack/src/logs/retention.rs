//! Keeps logs within a size and an age per app, so that a chatty app cannot fill the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of log kept per app.
pub const LOG_BYTES_MAX: u64 = 256 << 20;
/// How long log files of ended processes are kept.
pub const LOG_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Deletes the oldest files of ended processes until the directory is within its limits. `alive` says whose files stay.
pub fn sweep(directory: &Path, alive: impl Fn(&str) -> bool) {
    let mut total = 0;
    let mut dead: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for path in super::files(directory) {
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        total += meta.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("router.") && !alive(&name) {
            let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            dead.push((changed, meta.len(), path.clone()));
        }
    }
    dead.sort();
    for (changed, bytes, path) in dead {
        let old = changed.elapsed().is_ok_and(|age| age > LOG_AGE_MAX);
        if (old || total > LOG_BYTES_MAX) && fs::remove_file(&path).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_the_dead_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, age: Duration| {
            let path = dir.path().join(name);
            fs::write(&path, "1 o x\n").expect("written");
            let file = fs::File::options().write(true).open(&path).expect("opened");
            file.set_modified(SystemTime::now() - age).expect("aged");
            path
        };
        let old = LOG_AGE_MAX + Duration::from_secs(60);
        let dead = file("service.web.aaaaaaaaaaaa.log", old);
        let alive = file("service.web.bbbbbbbbbbbb.log", old);
        let young = file("service.web.cccccccccccc.log", Duration::ZERO);
        sweep(dir.path(), |name| name.contains("bbbbbbbbbbbb"));
        assert!(!dead.exists() && alive.exists() && young.exists());
    }
}
