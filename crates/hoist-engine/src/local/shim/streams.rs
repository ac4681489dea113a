//! What a process reads and writes: the log's pipes, pipes whose other ends the rack holds, or a terminal.
//!
//! Nothing that passes through the rack's streams passes through us: we make the connection and let go of it.

use std::fs::File;
use std::io::{IoSlice, PipeWriter};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::{Fault, sys};
use crate::local::record::Attached;

/// What goes with a terminal over the rack's socket; anything else says why there is none.
pub(in crate::local) const TERMINAL: &[u8] = b"terminal";

/// The streams of a process that is about to be.
pub(super) enum Streams {
    /// Nothing to read, and nobody reads it: a check.
    Nothing,
    /// Nothing to read; what it writes is for the log.
    Log { out: PipeWriter, err: PipeWriter },
    /// Input, output, errors: the rack has the other ends.
    Pipes([OwnedFd; 3]),
    /// A terminal that the rack gets over this socket.
    Terminal {
        /// Until the terminal was handed over.
        rack: Option<OwnedFd>,
        columns: u16,
        rows: u16,
        /// One of the machine's own, for a root without terminals.
        spare: Option<(OwnedFd, OwnedFd)>,
    },
}

impl Streams {
    /// What the rack sent along: three pipes, or one socket for a terminal.
    pub(super) fn of(attached: Attached, files: Vec<OwnedFd>) -> Result<Self, Fault> {
        let missing = || Fault::new("find the streams");
        match attached {
            Attached::Pipes => Ok(Self::Pipes(files.try_into().map_err(|_| missing())?)),
            Attached::Terminal { columns, rows } => Ok(Self::Terminal {
                rack: Some(files.into_iter().next().ok_or_else(missing)?),
                columns,
                rows,
                spare: None,
            }),
        }
    }

    /// Whether the rack holds the other ends.
    pub(super) fn are_attached(&self) -> bool {
        matches!(self, Self::Pipes(_) | Self::Terminal { .. })
    }

    /// Takes what must be taken before the machine's root is left: not every machine gives a process terminals of its own.
    pub(super) fn prepare(&mut self) {
        if let Self::Terminal { spare, .. } = self {
            *spare = sys::open_terminal().ok();
        }
    }

    /// Makes them the standard streams of the calling process, which must lead a session.
    pub(super) fn connect(&mut self, uid: Option<u32>) -> Result<(), Fault> {
        match self {
            Self::Nothing => {
                let null = null()?;
                standard([null.as_fd(), null.as_fd(), null.as_fd()])
            }
            Self::Log { out, err } => {
                give([out.as_fd(), err.as_fd()], uid);
                standard([null()?.as_fd(), out.as_fd(), err.as_fd()])
            }
            Self::Pipes(ends) => {
                let ends = ends.each_ref().map(OwnedFd::as_fd);
                give(ends, uid);
                standard(ends)
            }
            Self::Terminal {
                rack,
                columns,
                rows,
                spare,
            } => {
                let own = sys::open_terminal();
                let (near, far) = match (own, spare.take()) {
                    (Ok(own), _) => own,
                    (Err(_), Some(spare)) => spare,
                    (Err(error), None) => return Err(Fault::of("open a terminal")(error)),
                };
                terminal(&near, &far, (*columns, *rows)).map_err(Fault::of("set up a terminal"))?;
                if let Some(rack) = rack.take() {
                    hand_over(rack.as_fd(), &near).map_err(Fault::of("hand the terminal over"))?;
                }
                give([far.as_fd()], uid);
                standard([far.as_fd(), far.as_fd(), far.as_fd()])
            }
        }
    }

    /// Tells whoever holds the other ends why nothing comes of it.
    pub(super) fn fail(&self, fault: &Fault) {
        let text = format!("hoist: {fault}\n");
        let _ = match self {
            Self::Nothing | Self::Log { .. } => return,
            Self::Pipes([_, _, err]) => nix::unistd::write(err, text.as_bytes()),
            Self::Terminal { rack: None, .. } => {
                nix::unistd::write(std::io::stderr(), text.as_bytes())
            }
            Self::Terminal {
                rack: Some(rack), ..
            } => nix::unistd::write(rack, fault.to_string().as_bytes()),
        };
    }
}

fn null() -> Result<File, Fault> {
    let open = File::options().read(true).write(true).open("/dev/null");
    open.map_err(Fault::of("open /dev/null"))
}

fn terminal(near: &OwnedFd, far: &OwnedFd, (columns, rows): (u16, u16)) -> std::io::Result<()> {
    sys::set_terminal_size(near.as_fd(), columns, rows)?;
    // Erasing takes a whole character away and not its last byte.
    let mut modes = tcgetattr(far)?;
    modes.input_flags.insert(InputFlags::IUTF8);
    tcsetattr(far, SetArg::TCSANOW, &modes)?;
    sys::control_terminal(far.as_fd())
}

fn hand_over(rack: BorrowedFd, near: &OwnedFd) -> nix::Result<()> {
    let files = [near.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&files)];
    let text = [IoSlice::new(TERMINAL)];
    sendmsg::<()>(
        rack.as_raw_fd(),
        &text,
        &rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Gives them to the process's user, who may want to open them by name (`/dev/stdout`). Never for what others use, too.
fn give<const N: usize>(ours: [BorrowedFd; N], uid: Option<u32>) {
    let Some(id) = uid else { return };
    for end in ours {
        let _ = fchown(end, Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
    }
}

fn standard([input, out, err]: [BorrowedFd; 3]) -> Result<(), Fault> {
    dup2_stdin(input).map_err(Fault::of("connect the input"))?;
    dup2_stdout(out).map_err(Fault::of("connect the output"))?;
    dup2_stderr(err).map_err(Fault::of("connect the output"))
}
