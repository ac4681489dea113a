//! What a build prints, kept in one file in the form of all logs: `<unix_ms> <o|e> <text>`.
//!
//! The file is bounded: of a command that prints without end it keeps the beginning and the end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::clock::wall;

/// Bytes that are kept of the beginning.
const HEAD_BYTES_MAX: usize = 8 << 20;
/// Bytes that are kept of the end, once the beginning is full.
const TAIL_BYTES_MAX: usize = 256 << 10;

/// Writes a build's log. A disk that is full loses lines, not the build.
pub(super) struct Output {
    file: Option<File>,
    head_bytes: usize,
    tail: VecDeque<Vec<u8>>,
    tail_bytes: usize,
    left_out: bool,
}

impl Output {
    pub(super) fn create(path: &Path) -> Self {
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        Self {
            file: File::create(path).ok(),
            head_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: false,
        }
    }

    /// A line of the rack's own.
    pub(super) fn say(&mut self, text: &str) {
        for line in text.lines() {
            let line = format!("{} o {line}\n", wall().0);
            self.write(line.as_bytes());
        }
    }

    /// Whole lines of a command, in the form of the file.
    pub(super) fn lines(&mut self, lines: &[u8]) {
        if self.head_bytes + lines.len() <= HEAD_BYTES_MAX {
            self.head_bytes += lines.len();
            return self.write(lines);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.head_bytes + line.len() <= HEAD_BYTES_MAX {
                self.head_bytes += line.len();
                self.write(line);
                continue;
            }
            self.head_bytes = HEAD_BYTES_MAX;
            self.tail_bytes += line.len();
            self.tail.push_back(line.to_vec());
            while self.tail_bytes > TAIL_BYTES_MAX {
                self.left_out = true;
                self.tail_bytes -= self.tail.pop_front().map_or(0, |line| line.len());
            }
        }
    }

    /// Lines went unread, so that the next ones do not follow.
    pub(super) fn lost(&mut self) {
        if self.tail.is_empty() {
            self.say_left_out();
        } else {
            self.left_out = true;
        }
    }

    /// Writes the end of what a command printed, once it ended.
    pub(super) fn command_ended(&mut self) {
        if std::mem::take(&mut self.left_out) {
            self.say_left_out();
        }
        self.tail_bytes = 0;
        for line in std::mem::take(&mut self.tail) {
            self.write(&line);
        }
    }

    fn say_left_out(&mut self) {
        self.say(&format!(
            "... lines are left out here: of what a build prints, the first {} MB and the last {} kB are kept",
            HEAD_BYTES_MAX >> 20,
            TAIL_BYTES_MAX >> 10
        ));
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_output_without_end_the_beginning_and_the_end_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("builds/B.log");
        let mut output = Output::create(&path);
        output.say("running it");
        for number in 0..20_000 {
            let text = "x".repeat(1_000);
            output.lines(format!("{number} o {text}\n{number} e {text}\n").as_bytes());
        }
        output.command_ended();
        output.say("build failed");
        let text = std::fs::read_to_string(&path).expect("a log");
        assert!(text.len() < HEAD_BYTES_MAX + TAIL_BYTES_MAX + 1_000);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(" o running it") && lines[1].starts_with("0 o x"));
        assert!(lines[lines.len() - 2].starts_with("19999 e x"));
        let notes = lines.iter().filter(|line| line.contains("left out"));
        assert_eq!(notes.count(), 1);
    }

    #[test]
    fn of_output_that_fits_nothing_is_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("B.log");
        let mut output = Output::create(&path);
        let line = format!("1 o {}\n", "x".repeat(1 << 16));
        let count = HEAD_BYTES_MAX / line.len() + 2;
        (0..count).for_each(|_| output.lines(line.as_bytes()));
        output.command_ended();
        let text = std::fs::read_to_string(&path).expect("a log");
        assert_eq!(text.lines().count(), count);
        assert!(!text.contains("left out"));
    }
}
