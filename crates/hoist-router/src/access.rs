//! Access lines: one per request, appended to the service's own file, never in a request's way.
//!
//! Every thread has its own buffer per file, so a request takes a lock that nobody else holds; one writer thread empties
//! them. A buffer that is full drops lines and counts them. The writer sleeps while there is nothing to write.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long a line waits at most before it is written.
const PAUSE: Duration = Duration::from_millis(150);
/// Bytes of lines that one thread keeps for one file between two writes.
const BUFFER_BYTES_MAX: usize = 2 << 20;
/// A buffer above this is given back once written.
const BUFFER_BYTES_KEPT: usize = 64 << 10;
/// A file of this size becomes `.1`, in place of the `.1` before it.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// All files, and what their writer waits for.
pub(crate) struct Journal {
    threads: usize,
    sinks: Mutex<HashMap<PathBuf, Weak<Sink>>>,
    dirty: Mutex<Dirty>,
    wake: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Dirty {
    sinks: Vec<Arc<Sink>>,
    closing: bool,
}

/// One file that lines go to.
pub(crate) struct Sink {
    path: PathBuf,
    buffers: Box<[Mutex<Vec<u8>>]>,
    queued: AtomicBool,
    dropped: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// A journal for `threads` writers of lines.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads,
            sinks: Mutex::default(),
            dirty: Mutex::default(),
            wake: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// The sink of a file; the same one for as long as anybody uses it.
    pub(crate) fn sink(&self, path: &Path) -> Arc<Sink> {
        let mut sinks = lock(&self.sinks);
        if let Some(sink) = sinks.get(path).and_then(Weak::upgrade) {
            return sink;
        }
        sinks.retain(|_, sink| sink.strong_count() > 0);
        let sink = Arc::new(Sink {
            path: path.to_owned(),
            buffers: (0..self.threads).map(|_| Mutex::default()).collect(),
            queued: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        sinks.insert(path.to_owned(), Arc::downgrade(&sink));
        sink
    }

    /// Has `write` append one line, without its end, to the buffer of `thread`.
    pub(crate) fn line(&self, sink: &Arc<Sink>, thread: usize, write: impl FnOnce(&mut Vec<u8>)) {
        {
            let mut buffer = lock(&sink.buffers[thread]);
            if buffer.len() >= BUFFER_BYTES_MAX {
                sink.dropped.fetch_add(1, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut buffer);
            buffer.push(b'\n');
        }
        if !sink.queued.load(Ordering::Relaxed) && !sink.queued.swap(true, Ordering::SeqCst) {
            lock(&self.dirty).sinks.push(sink.clone());
            self.wake.notify_one();
        }
    }

    /// Lines that found a full buffer, since the beginning.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes until [`Journal::close`]; the body of the writer thread.
    pub(crate) fn write(&self) {
        loop {
            let (sinks, closing) = self.next_sinks();
            for sink in sinks {
                // Before the buffers are read: a line that comes later queues the sink again.
                sink.queued.store(false, Ordering::SeqCst);
                if let Err(error) = sink.flush() {
                    tracing::warn!(path = %sink.path.display(), %error, "cannot write access lines");
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Has the writer write what there is and end.
    pub(crate) fn close(&self) {
        lock(&self.dirty).closing = true;
        self.wake.notify_one();
    }

    fn next_sinks(&self) -> (Vec<Arc<Sink>>, bool) {
        let wait = |guard| {
            self.wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut dirty = lock(&self.dirty);
        while dirty.sinks.is_empty() && !dirty.closing {
            dirty = wait(dirty);
        }
        if !dirty.closing {
            // Lines gather, so that a busy service costs a few writes a second and not one per line.
            let gathered = self
                .wake
                .wait_timeout_while(dirty, PAUSE, |dirty| !dirty.closing);
            dirty = gathered.unwrap_or_else(PoisonError::into_inner).0;
        }
        (std::mem::take(&mut dirty.sinks), dirty.closing)
    }
}

impl Sink {
    fn flush(&self) -> io::Result<()> {
        let mut file = None;
        for buffer in &self.buffers {
            let mut lines = std::mem::take(&mut *lock(buffer));
            if lines.is_empty() {
                continue;
            }
            let file = match &mut file {
                Some(file) => file,
                none => none.insert(self.open()?),
            };
            file.write_all(&lines)?;
            if lines.capacity() <= BUFFER_BYTES_KEPT {
                lines.clear();
                let mut buffer = lock(buffer);
                if buffer.capacity() == 0 {
                    *buffer = lines;
                }
            }
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let mut file = match file {
                Some(file) => file,
                None => self.open()?,
            };
            writeln!(file, "{} o {dropped} lines dropped", unix_ms())?;
        }
        Ok(())
    }

    /// Opens the file for appending, anew each time: whoever removes or renames it needs to tell nobody.
    fn open(&self) -> io::Result<fs::File> {
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(&self.path)
        };
        let file = open()?;
        if file.metadata()?.len() < FILE_BYTES_MAX {
            return Ok(file);
        }
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.path, old)?;
        open()
    }
}

/// Milliseconds of the wall clock, as lines show them.
pub(crate) fn unix_ms() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffer_drops_lines_counts_them_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let journal = Journal::new(1);
        let sink = journal.sink(&path);
        let long = vec![b'x'; 64 << 10];
        for _ in 0..40 {
            journal.line(&sink, 0, |line| line.extend_from_slice(&long));
        }
        let kept = (BUFFER_BYTES_MAX / (long.len() + 1) + 1) as u64;
        assert_eq!(journal.dropped(), 40 - kept);
        journal.close();
        journal.write();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count() as u64, kept + 1);
        assert!(
            text.trim_end()
                .ends_with(&format!(" o {} lines dropped", 40 - kept))
        );
    }

    #[test]
    fn one_file_has_one_sink_while_anybody_uses_it() {
        let journal = Journal::new(1);
        let sink = journal.sink(Path::new("/a"));
        assert!(Arc::ptr_eq(&sink, &journal.sink(Path::new("/a"))));
        assert!(!Arc::ptr_eq(&sink, &journal.sink(Path::new("/b"))));
    }
}
