//! The log file of one process: what it writes, line by line, within a size limit.
//!
//! A line is `<unix_ms> <o|e> <text>`. The file is cut in two halves, so that the older half can go as a whole; both
//! together stay below the limit. Nothing here ever waits or fails upwards: an app must not stop for its log.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest text of a line; longer ones are split.
pub(crate) const LINE_MAX: usize = 64 << 10;
/// No limit is taken more seriously than this: half of it must hold a line.
const BYTES_MIN: u64 = 256 << 10;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// The file name of a process's log: `<source>.<process id>.log`, with the source's `/` as `.`.
pub(crate) fn file_name(source: &str, process: &str) -> String {
    format!("{}.{process}.log", source.replace('/', "."))
}

/// Milliseconds of the wall clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Writes one process's log.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    half_max: u64,
    partial: [Vec<u8>; 2],
    dropped: u64,
}

impl LogFile {
    /// Continues the file at `path`, or begins it with the first line.
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self {
            path,
            file: None,
            size: 0,
            half_max: bytes_max.max(BYTES_MIN) / 2,
            partial: [Vec::new(), Vec::new()],
            dropped: 0,
        }
    }

    /// Takes what a stream gave, in pieces of any size; whole lines are written at once.
    pub(crate) fn take(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = now_ms();
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut lines = 0;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.piece(stream, &bytes[..end], now, &mut out, &mut lines);
            self.end_line(stream, now, &mut out, &mut lines);
            bytes = &bytes[end + 1..];
        }
        self.piece(stream, bytes, now, &mut out, &mut lines);
        self.put(&out, lines);
        let rest = &mut self.partial[stream as usize];
        if rest.is_empty() {
            rest.shrink_to(256);
        }
    }

    /// Writes what has no line end yet, because nothing more will come.
    pub(crate) fn flush(&mut self) {
        let now = now_ms();
        let (mut out, mut lines) = (Vec::new(), 0);
        for stream in [Stream::Out, Stream::Err] {
            if !self.partial[stream as usize].is_empty() {
                self.end_line(stream, now, &mut out, &mut lines);
            }
        }
        self.put(&out, lines);
    }

    /// Adds a line of the platform's own.
    pub(crate) fn say(&mut self, text: &str) {
        self.flush();
        let line = format!("{} e {}\n", now_ms(), text.replace('\n', " "));
        self.put(line.as_bytes(), 1);
    }

    fn piece(
        &mut self,
        stream: Stream,
        mut text: &[u8],
        now: u64,
        out: &mut Vec<u8>,
        lines: &mut u64,
    ) {
        while self.partial[stream as usize].len() + text.len() > LINE_MAX {
            let room = LINE_MAX - self.partial[stream as usize].len();
            self.partial[stream as usize].extend_from_slice(&text[..room]);
            self.end_line(stream, now, out, lines);
            text = &text[room..];
        }
        self.partial[stream as usize].extend_from_slice(text);
    }

    fn end_line(&mut self, stream: Stream, now: u64, out: &mut Vec<u8>, lines: &mut u64) {
        let letter = match stream {
            Stream::Out => 'o',
            Stream::Err => 'e',
        };
        let _ = write!(out, "{now} {letter} ");
        out.append(&mut self.partial[stream as usize]);
        out.push(b'\n');
        *lines += 1;
    }

    /// Writes whole lines, all of them or none. A disk without room costs lines, counted, and never the app's time.
    fn put(&mut self, lines: &[u8], count: u64) {
        if lines.is_empty() {
            return;
        }
        if self.dropped > 0 {
            let note = format!(
                "{} e hoist: {} lines lost: no room for the log\n",
                now_ms(),
                self.dropped
            );
            if self.append(note.as_bytes()) {
                self.dropped = 0;
            }
        }
        if self.dropped > 0 || !self.append(lines) {
            self.dropped += count;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        if self.size > 0 && self.size + bytes.len() as u64 > self.half_max {
            self.file = None;
            let _ = fs::rename(&self.path, older_half(&self.path));
        }
        if self.file.is_none() {
            let opened = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(&self.path);
            let Ok(file) = opened else { return false };
            self.size = file.metadata().map_or(0, |meta| meta.size());
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else {
            return false;
        };
        match file.write_all(bytes) {
            Ok(()) => {
                self.size += bytes.len() as u64;
                true
            }
            Err(_) => {
                // Half a line would be a line that lies.
                let _ = file.set_len(self.size);
                false
            }
        }
    }
}

/// Where the older half of a log is.
pub(crate) fn older_half(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        text.lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    #[test]
    fn lines_of_two_streams_in_pieces_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = LogFile::new(path.clone(), 0);
        log.take(Stream::Out, b"one\ntw");
        log.take(Stream::Err, b"oh\n");
        log.take(Stream::Out, b"o\n\nlast");
        log.flush();
        assert_eq!(lines(&path), ["o one", "e oh", "o two", "o ", "o last"]);
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        LogFile::new(path.clone(), 0).take(Stream::Out, b"a\xff\x00b\n");
        assert!(fs::read(&path).unwrap().ends_with(b" o a\xff\x00b\n"));
    }

    #[test]
    fn a_long_line_is_split_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = LogFile::new(path.clone(), 10 << 20);
        for _ in 0..30 {
            log.take(Stream::Out, &[b'x'; 10_000]);
        }
        log.take(Stream::Out, b"\n");
        let lines = lines(&path);
        assert!(lines.iter().all(|line| line.len() <= LINE_MAX + 2));
        assert_eq!(
            lines.iter().map(|line| line.len() - 2).sum::<usize>(),
            300_000
        );
    }

    #[test]
    fn both_halves_stay_below_the_limit_and_the_newest_line_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let limit = 512 << 10;
        let mut log = LogFile::new(path.clone(), limit);
        for number in 0..20_000 {
            log.take(
                Stream::Out,
                format!("line {number} {}\n", "y".repeat(80)).as_bytes(),
            );
            if number == 10_000 {
                log = LogFile::new(path.clone(), limit);
            }
        }
        let size = |p: &Path| fs::metadata(p).unwrap().size();
        assert!(size(&path) + size(&older_half(&path)) <= limit);
        assert!(lines(&path).last().unwrap().contains("line 19999 "));
        let first = lines(&path)
            .first()
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap();
        let before = lines(&older_half(&path))
            .last()
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap();
        assert_eq!(before + 1, first);
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, path) = (dir.path().join("logs"), dir.path().join("logs/a.log"));
        let mut log = LogFile::new(path.clone(), 0);
        log.take(Stream::Out, b"1\n2\n");
        log.take(Stream::Out, b"3\n");
        fs::create_dir(folder).unwrap();
        log.take(Stream::Out, b"4\n");
        assert_eq!(
            lines(&path),
            ["e hoist: 3 lines lost: no room for the log", "o 4"]
        );
    }
}
