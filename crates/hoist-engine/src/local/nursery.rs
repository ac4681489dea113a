//! The rack's end of the nursery (`shim::nursery`): asks it for shims, and starts it when there is none.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::shim::STARTED;
use super::{ShimCommand, locked};

/// How long the nursery may take to answer, in seconds.
const ANSWER: i64 = 10;

/// Asks for shims; one at a time.
pub(super) struct Nursery {
    command: ShimCommand,
    line: Mutex<Option<Line>>,
}

/// A nursery that runs.
struct Line {
    /// None only while it is dropped.
    socket: Option<OwnedFd>,
    child: Child,
}

impl Drop for Line {
    fn drop(&mut self) {
        // It ends when it hears nobody.
        self.socket = None;
        let _ = self.child.wait();
    }
}

impl Nursery {
    /// Starts nothing yet.
    pub(super) fn new(command: ShimCommand) -> Self {
        Self {
            command,
            line: Mutex::new(None),
        }
    }

    /// Starts the shim of a state directory, and hands it the directory's lock, the variables, and streams if it has any.
    pub(super) fn start(&self, dir: &Path, files: &[BorrowedFd]) -> io::Result<()> {
        let mut line = locked(&self.line);
        if let Some(found) = line.as_ref() {
            match found.ask(dir, files) {
                Ok(answer) => return understand(&answer),
                Err(error) => {
                    tracing::warn!(%error, "the nursery of supervisors is gone; a new one is started")
                }
            }
        }
        *line = None;
        let opened = self.open()?;
        let answer = opened.ask(dir, files);
        *line = Some(opened);
        understand(&answer?)
    }

    fn open(&self) -> io::Result<Line> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        setsockopt(&ours, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER))?;
        setsockopt(&ours, sockopt::SendTimeout, &TimeVal::seconds(ANSWER))?;
        let child = self
            .command
            .command(&[])
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Line {
            socket: Some(ours),
            child,
        })
    }
}

impl Line {
    fn ask(&self, dir: &Path, files: &[BorrowedFd]) -> io::Result<Vec<u8>> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let text = [IoSlice::new(dir.as_os_str().as_bytes())];
        let rights = [ControlMessage::ScmRights(&files)];
        sendmsg::<()>(
            socket.as_raw_fd(),
            &text,
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        let mut answer = [0; 4096];
        let count = nix::unistd::read(socket, &mut answer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer[..count].to_vec())
    }
}

fn understand(answer: &[u8]) -> io::Result<()> {
    if answer == STARTED {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(answer).into_owned(),
    ))
}
