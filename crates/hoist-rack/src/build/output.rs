//! What a build prints, kept in one file in the form of all logs: `<unix_ms> <o|e> <text>`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::clock::wall;
use crate::logs::Line;

/// Writes a build's log. A disk that is full loses lines, not the build.
pub(super) struct Output {
    file: Option<File>,
}

impl Output {
    pub(super) fn create(path: &Path) -> Self {
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        Self {
            file: File::create(path).ok(),
        }
    }

    /// A line of the rack's own.
    pub(super) fn say(&mut self, text: &str) {
        for line in text.lines() {
            self.write(wall().0, 'o', line);
        }
    }

    /// A line of the build command.
    pub(super) fn line(&mut self, line: &Line) {
        self.write(line.at, if line.error { 'e' } else { 'o' }, &line.text);
    }

    fn write(&mut self, at: u64, stream: char, text: &str) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{at} {stream} {text}\n").as_bytes());
        }
    }
}
