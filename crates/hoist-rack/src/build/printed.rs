//! Reads what a build's command prints as it comes, from the log file that its engine writes.
//!
//! The file is cut in two halves of which the older one goes: a command that prints faster than the rack reads loses
//! lines, and the reader knows.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of one look; the rest comes with the next.
const PIECE_BYTES: usize = 1 << 20;

/// Where the reading of one command's output stands.
pub(super) struct Printed {
    dir: PathBuf,
    path: Option<PathBuf>,
    open: Option<File>,
    partial: Vec<u8>,
}

/// What was read.
pub(super) struct Piece {
    /// Whole lines as they stand in the file; empty when there is nothing new.
    pub(super) lines: Vec<u8>,
    /// Lines before these went unread.
    pub(super) lost: bool,
}

impl Printed {
    /// Of the only log file in a directory that the engine will make it in.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            path: None,
            open: None,
            partial: Vec::new(),
        }
    }

    /// The lines that were added since the last look, or some of them.
    pub(super) fn more(&mut self) -> Piece {
        let mut lost = false;
        let mut lines = self.read();
        if lines.is_empty()
            && let Some(rotated) = self.rotated()
        {
            // It had more when it was renamed than when it was read.
            lines = self.read();
            if lines.is_empty() {
                lost = rotated.lost;
                self.partial.clear();
                self.open = Some(rotated.next);
                lines = self.read();
            }
        }
        Piece { lines, lost }
    }

    fn read(&mut self) -> Vec<u8> {
        if self.open.is_none() {
            self.path = self.path.take().or_else(|| log_file(&self.dir));
            self.open = self.path.as_ref().and_then(|path| File::open(path).ok());
        }
        let Some(file) = &mut self.open else {
            return Vec::new();
        };
        let mut piece = std::mem::take(&mut self.partial);
        let room = PIECE_BYTES as u64;
        let _ = file.take(room).read_to_end(&mut piece);
        let end = piece.iter().rposition(|byte| *byte == b'\n');
        self.partial = piece.split_off(end.map_or(0, |at| at + 1));
        piece
    }

    /// The file that follows the open one, when that was put aside.
    fn rotated(&self) -> Option<Rotated> {
        let (path, open) = (self.path.as_ref()?, self.open.as_ref()?);
        let number = |file: &File| file.metadata().map(|meta| meta.ino()).ok();
        let newest = File::open(path).ok()?;
        let own = number(open);
        if number(&newest) == own {
            return None;
        }
        let older = File::open(older_half(path)).ok();
        match older {
            Some(older) if number(&older) != own => Some(Rotated {
                next: older,
                lost: true,
            }),
            _ => Some(Rotated {
                next: newest,
                lost: false,
            }),
        }
    }
}

struct Rotated {
    next: File,
    lost: bool,
}

fn older_half(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn log_file(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|end| end == "log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn append(path: &Path, text: &str) {
        let file = File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("written");
    }

    fn text(printed: &mut Printed) -> (String, bool) {
        let piece = printed.more();
        (
            String::from_utf8_lossy(&piece.lines).into_owned(),
            piece.lost,
        )
    }

    #[test]
    fn lines_come_whole_and_over_rotation() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("build.a.log");
        let mut printed = Printed::new(dir.path().to_owned());
        assert_eq!(text(&mut printed), (String::new(), false));
        append(&path, "1 o a\n2 o ");
        assert_eq!(text(&mut printed), ("1 o a\n".to_owned(), false));
        append(&path, "b\n");
        assert_eq!(text(&mut printed), ("2 o b\n".to_owned(), false));
        append(&path, "3 o c\n");
        fs::rename(&path, older_half(&path)).expect("renamed");
        append(&path, "4 o d\n");
        assert_eq!(text(&mut printed), ("3 o c\n".to_owned(), false));
        assert_eq!(text(&mut printed), ("4 o d\n".to_owned(), false));
        assert_eq!(text(&mut printed), (String::new(), false));
    }

    #[test]
    fn what_went_unread_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("build.a.log");
        let mut printed = Printed::new(dir.path().to_owned());
        append(&path, "1 o a\n");
        assert_eq!(text(&mut printed), ("1 o a\n".to_owned(), false));
        for line in ["2 o b\n", "3 o c\n", "4 o d\n"] {
            fs::rename(&path, older_half(&path)).expect("renamed");
            append(&path, line);
        }
        assert_eq!(text(&mut printed), ("3 o c\n".to_owned(), true));
        assert_eq!(text(&mut printed), ("4 o d\n".to_owned(), false));
    }
}
