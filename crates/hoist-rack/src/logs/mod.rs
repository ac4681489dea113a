//! Reads what processes said: files that shims and the router write, merged by time.
//!
//! A line is `<unix_ms> <o|e> <text>`; a file is named `<source>.<process id>.log`, its older half ends in `.1`.

mod retention;
mod tail;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use retention::{LOG_AGE_MAX, LOG_BYTES_MAX, sweep};
pub use tail::Tail;

/// How much of the end of each file is read for the last lines.
const TAIL_BYTES: u64 = 512 << 10;

/// One line of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in milliseconds of the wall clock.
    pub at: u64,
    /// `service/web/3f2a…`, `router`, `release/…`.
    pub source: String,
    /// Whether it came from standard error.
    pub error: bool,
    /// What it said; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this process.
    pub process: Option<String>,
    /// Only from then on, in milliseconds of the wall clock.
    pub since: Option<u64>,
}

impl Filter {
    fn wants(&self, source: &str) -> bool {
        let mut parts = source.split('/');
        let (kind, name, last) = (parts.next(), parts.next(), source.rsplit('/').next());
        let service = self
            .service
            .as_deref()
            .is_none_or(|wanted| kind == Some("service") && name == Some(wanted));
        service
            && self
                .process
                .as_deref()
                .is_none_or(|wanted| last == Some(wanted))
    }
}

/// The last `limit` wanted lines of a directory, oldest first, and where each file ended.
pub fn read(directory: &Path, filter: &Filter, limit: usize) -> (Vec<Line>, Tail) {
    let mut lines = Vec::new();
    let mut tail = Tail::default();
    for path in files(directory) {
        let source = source_of(&path);
        let (text, end) = read_end(&path, whole(filter));
        tail.remember(&path, end);
        if filter.wants(&source) {
            let wanted = |line: &Line| filter.since.is_none_or(|since| line.at >= since);
            lines.extend(parse(&text, &source).filter(wanted));
        }
    }
    // Stable: lines of one process keep their order.
    lines.sort_by_key(|line| line.at);
    let surplus = lines.len().saturating_sub(limit);
    lines.drain(..surplus);
    (lines, tail)
}

/// The last lines of one file: when, source, text.
pub fn last_lines(path: &Path, limit: usize) -> Vec<(u64, String, String)> {
    let source = source_of(path);
    let (text, _) = read_end(path, false);
    let mut lines: Vec<_> = parse(&text, &source)
        .map(|line| (line.at, line.source, line.text))
        .collect();
    let surplus = lines.len().saturating_sub(limit);
    lines.drain(..surplus);
    lines
}

/// Whether a service left lines in a directory.
pub fn knows(directory: &Path, service: &str) -> bool {
    let filter = Filter {
        service: Some(service.to_owned()),
        ..Filter::default()
    };
    files(directory)
        .iter()
        .any(|path| filter.wants(&source_of(path)))
}

/// Whether whole files are needed: a time was asked for, not a number of lines.
fn whole(filter: &Filter) -> bool {
    filter.since.is_some()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".log") || name.ends_with(".log.1")
        })
        .collect();
    // The older half of a file before its newer one.
    paths.sort_by(|a, b| b.extension().cmp(&a.extension()).reverse().then(a.cmp(b)));
    paths
}

/// `service.web.3f2a….log` says `service/web/3f2a…`.
fn source_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split(".log").next().unwrap_or_default();
    match stem.split_once('.') {
        Some(("service", rest)) => match rest.rsplit_once('.') {
            Some((service, process)) => format!("service/{service}/{process}"),
            None => format!("service/{rest}"),
        },
        Some((kind, rest)) => format!("{kind}/{rest}"),
        None => stem.to_owned(),
    }
}

fn read_end(path: &Path, whole: bool) -> (Vec<u8>, u64) {
    let Ok(mut file) = File::open(path) else {
        return (Vec::new(), 0);
    };
    let length = file.metadata().map_or(0, |meta| meta.len());
    let from = if whole {
        0
    } else {
        length.saturating_sub(TAIL_BYTES)
    };
    let mut text = Vec::new();
    if file.seek(SeekFrom::Start(from)).is_err() {
        return (Vec::new(), 0);
    }
    let read = file.take(length - from).read_to_end(&mut text).unwrap_or(0) as u64;
    if from > 0 {
        let cut = text
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(text.len(), |at| at + 1);
        text.drain(..cut);
    }
    // A line that is being written is left to the next look.
    let whole_lines = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let unread = (text.len() - whole_lines) as u64;
    text.truncate(whole_lines);
    (text, from + read - unread)
}

fn parse<'a>(text: &'a [u8], source: &'a str) -> impl Iterator<Item = Line> + 'a {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .filter_map(move |line| parse_line(line, source))
}

fn parse_line(line: &[u8], source: &str) -> Option<Line> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let error = parts.next()? == b"e";
    let text = parts.next().unwrap_or_default();
    Some(Line {
        at,
        source: source.to_owned(),
        error,
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_files_come_in_the_order_of_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("service.web.aaaaaaaaaaaa.log.1", "1 o one\n");
        write("service.web.aaaaaaaaaaaa.log", "4 e four\n6 o half");
        write("service.my.app.bbbbbbbbbbbb.log", "3 o three\n");
        write("router.log", "5 o GET / 200\n");
        let (lines, mut tail) = read(dir.path(), &Filter::default(), 100);
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "three", "four", "GET / 200"]);
        assert_eq!(lines[0].source, "service/web/aaaaaaaaaaaa");
        assert_eq!(lines[1].source, "service/my.app/bbbbbbbbbbbb");
        assert!(lines[2].error && !lines[0].error);
        let filter = Filter {
            service: Some("web".to_owned()),
            ..Filter::default()
        };
        assert_eq!(read(dir.path(), &filter, 1).0.len(), 1);
        write(
            "service.web.aaaaaaaaaaaa.log",
            "4 e four\n6 o half done\n7 o seven\n",
        );
        write("service.web.cccccccccccc.log", "8 o new\n");
        let more = tail.more(dir.path(), &filter);
        let texts: Vec<_> = more.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["half done", "seven", "new"]);
        assert!(tail.more(dir.path(), &filter).is_empty());
    }
}
