//! The rack's ends of a process's streams: three pipes, or a terminal. The shim makes the connection and is out of the way,
//! so bytes pass from the process to the rack and nowhere between.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use super::record::Attached;
use super::shim::{TERMINAL, receive, set_terminal_size, watch};
use crate::{EngineError, Session, SessionControl, Streams, TerminalSize};

/// What a pipe holds where the machine allows it: the rack then wakes up less often.
const PIPE_BYTES: i32 = 1 << 20;
/// How long a terminal may take to come, in seconds.
const TERMINAL_COMES: i64 = 10;

/// The ends that go to the process.
pub(super) struct Far {
    pub(super) attached: Attached,
    pub(super) files: Vec<OwnedFd>,
}

/// The ends that stay here.
pub(super) enum Near {
    Pipes([OwnedFd; 3]),
    /// A socket that the terminal comes through, which only the process can open.
    Terminal(OwnedFd),
}

/// Makes streams.
pub(super) fn lay(streams: Streams) -> io::Result<(Near, Far)> {
    match streams {
        Streams::Pipes => {
            let (read, input) = wide_pipe()?;
            let (output, write) = wide_pipe()?;
            let (errors, cry) = pipe2(OFlag::O_CLOEXEC)?;
            let far = Far {
                attached: Attached::Pipes,
                files: vec![read, write, cry],
            };
            Ok((Near::Pipes([input, output, errors]), far))
        }
        Streams::Terminal(size) => {
            let (ours, theirs) = socketpair(
                AddressFamily::Unix,
                SockType::SeqPacket,
                None,
                SockFlag::SOCK_CLOEXEC,
            )?;
            setsockopt(
                &ours,
                sockopt::ReceiveTimeout,
                &TimeVal::seconds(TERMINAL_COMES),
            )?;
            let (columns, rows) = (size.columns(), size.rows());
            let far = Far {
                attached: Attached::Terminal { columns, rows },
                files: vec![theirs],
            };
            Ok((Near::Terminal(ours), far))
        }
    }
}

fn wide_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok((read, write))
}

impl Near {
    /// Waits for what only comes once the process is there. Blocks; the far ends must be let go of before.
    pub(super) fn settle(self) -> io::Result<Settled> {
        match self {
            Self::Pipes(pipes) => Ok(Settled::Pipes(pipes)),
            Self::Terminal(socket) => match receive(socket.as_fd())? {
                Some((text, mut files)) if text == TERMINAL => match files.pop() {
                    Some(end) => Ok(Settled::Terminal(end)),
                    None => Err(io::ErrorKind::InvalidData.into()),
                },
                Some((why, _)) => Err(io::Error::other(String::from_utf8_lossy(&why).into_owned())),
                None => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it ended before it had one",
                )),
            },
        }
    }
}

/// The ends, ready.
pub(super) enum Settled {
    Pipes([OwnedFd; 3]),
    Terminal(OwnedFd),
}

impl Settled {
    /// Makes a session of them. Must be called within a runtime.
    pub(super) fn session<C: SessionControl>(
        self,
        control: impl FnOnce(Screen) -> C,
    ) -> io::Result<Session> {
        match self {
            Self::Pipes([input, output, errors]) => Ok(Session {
                input: Box::new(pipe::Sender::from_owned_fd(input)?),
                output: Box::new(pipe::Receiver::from_owned_fd(output)?),
                errors: Some(Box::new(pipe::Receiver::from_owned_fd(errors)?)),
                control: Arc::new(control(Screen::default())),
            }),
            Self::Terminal(end) => {
                let end = Arc::new(watch(end)?);
                let screen = Screen(Arc::downgrade(&end));
                Ok(Session {
                    input: Box::new(Terminal(Arc::clone(&end))),
                    output: Box::new(Terminal(end)),
                    errors: None,
                    control: Arc::new(control(screen)),
                })
            }
        }
    }
}

/// What a control knows of the terminal: not enough to keep it open.
#[derive(Default)]
pub(super) struct Screen(Weak<AsyncFd<OwnedFd>>);

impl Screen {
    /// Tells the terminal its size. Without one, or after its end, nothing happens.
    pub(super) fn resize(&self, size: TerminalSize) -> Result<(), EngineError> {
        let Some(end) = self.0.upgrade() else {
            return Ok(());
        };
        set_terminal_size(end.as_fd(), size.columns(), size.rows()).map_err(|source| {
            EngineError::Unavailable {
                doing: "resize a terminal".to_owned(),
                source,
            }
        })
    }
}

/// The end of a terminal that somebody sits before. It hangs up when the last of these is dropped.
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match ready.try_io(|end| Ok(nix::unistd::read(end.get_ref(), room)?)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // How a terminal says that no program is on it any more.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::EIO as i32) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_not_yet) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            match ready.try_io(|end| Ok(nix::unistd::write(end.get_ref(), bytes)?)) {
                Ok(written) => return Poll::Ready(written),
                Err(_not_yet) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
