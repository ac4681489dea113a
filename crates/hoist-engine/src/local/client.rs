//! Talks to a shim over its socket. Blocking, with a limit: a shim that does not answer is dealt with otherwise.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layout::SOCKET;
use super::shim::{Answer, Request};

/// Asks the shim of a state directory.
pub(super) fn ask(dir: &Path, request: &Request, limit: Duration) -> io::Result<Answer> {
    let mut stream = through(dir, |dir| UnixStream::connect(dir.join(SOCKET)))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&answer).map_err(io::Error::from)
}

/// Names a directory by a descriptor, because a socket's path has room for 107 bytes and a data directory may not.
pub(super) fn through<T>(dir: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let open = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(dir)?;
    act(&PathBuf::from(format!(
        "/proc/self/fd/{}",
        open.as_raw_fd()
    )))
}
