//! Talks to a shim over its socket. Blocking, with a limit: a shim that does not answer is dealt with otherwise.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IoSlice, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::layout::SOCKET;
use super::shim::{Answer, Request};

/// Asks the shim of a state directory.
pub(super) fn ask(dir: &Path, request: &Request, limit: Duration) -> io::Result<Answer> {
    begin(dir, request, &[], limit).map(|line| line.answer)
}

/// A connection that goes on after its first answer.
pub(super) struct Line {
    pub(super) stream: UnixStream,
    pub(super) answer: Answer,
    /// What was heard behind the answer.
    pub(super) rest: Vec<u8>,
}

/// Asks with descriptors, and keeps the connection.
pub(super) fn begin(
    dir: &Path,
    request: &Request,
    files: &[BorrowedFd],
    limit: Duration,
) -> io::Result<Line> {
    let mut stream = through(dir, |dir| UnixStream::connect(dir.join(SOCKET)))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&files)];
    let rights = if files.is_empty() { &[][..] } else { &rights };
    let text = [IoSlice::new(&line)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(stream.as_raw_fd(), &text, rights, flags, None)?;
    stream.write_all(&line[sent..])?;
    let mut heard = BufReader::new(&stream);
    let mut answer = Vec::new();
    heard.read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rest = heard.buffer().to_vec();
    let answer = serde_json::from_slice(&answer).map_err(io::Error::from)?;
    Ok(Line {
        stream,
        answer,
        rest,
    })
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
