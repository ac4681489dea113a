//! Follows the files of a directory: what was added since the last look, also over rotation and in new files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Filter, Line, files, parse, source_of};

/// Most bytes of one file in one look; the rest comes with the next.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// Where each file was read up to. Files are known by inode, so that a rotated one is not read twice.
#[derive(Debug, Default)]
pub struct Tail {
    read: HashMap<u64, u64>,
}

impl Tail {
    pub(super) fn remember(&mut self, path: &Path, end: u64) {
        if let Ok(meta) = fs::metadata(path) {
            self.read.insert(meta.ino(), end);
        }
    }

    /// The wanted lines that were added since the last look, by time.
    pub fn more(&mut self, directory: &Path, filter: &Filter) -> Vec<Line> {
        let mut lines = Vec::new();
        for path in files(directory) {
            let source = source_of(&path);
            if let Some(text) = self.added(&path)
                && filter.wants(&source)
            {
                lines.extend(parse(&text, &source));
            }
        }
        lines.sort_by_key(|line| line.at);
        lines
    }

    /// The lines that were added to one file since the last look.
    pub fn more_of(&mut self, path: &Path, filter: &Filter) -> Vec<Line> {
        let source = source_of(path);
        let text = self
            .added(path)
            .filter(|_| filter.wants(&source))
            .unwrap_or_default();
        parse(&text, &source).collect()
    }

    fn added(&mut self, path: &Path) -> Option<Vec<u8>> {
        let mut file = File::open(path).ok()?;
        let meta = file.metadata().ok()?;
        let from = self.read.entry(meta.ino()).or_insert(0);
        if meta.len() < *from {
            // Cut short from outside: begin again.
            *from = 0;
        }
        if meta.len() == *from {
            return None;
        }
        file.seek(SeekFrom::Start(*from)).ok()?;
        let mut text = Vec::new();
        file.take(PIECE_BYTES_MAX).read_to_end(&mut text).ok()?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        text.truncate(whole);
        *from += whole as u64;
        Some(text)
    }
}
