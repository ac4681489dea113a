//! Hands the listener to the router that comes next, so that not one connection is refused or reset between the two.
//!
//! The successor gets the very socket: connections that nobody has accepted yet wait in it, whoever closes it first.
//! Binding the address a second time would lose those in the queue of the socket that is closed.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// How long either side waits for a word of the other.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// The byte that goes with the socket, and back once it is taken.
const TAKE: u8 = b'L';

/// Waits for a successor to call at `door`, at most `limit`, and gives it the listener. False when none came.
pub(crate) fn offer(
    door: &UnixListener,
    listener: &TcpListener,
    limit: Duration,
) -> io::Result<bool> {
    let mut watched = [PollFd::new(door.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    if poll(&mut watched, limit)? == 0 {
        return Ok(false);
    }
    let (mut successor, _) = door.accept()?;
    successor.set_nonblocking(false)?;
    successor.set_read_timeout(Some(ANSWER_LIMIT))?;
    let given = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(&given));
    sendmsg(
        &successor,
        &[IoSlice::new(&[TAKE])],
        &mut message,
        SendFlags::NOSIGNAL,
    )?;
    successor.read_exact(&mut [0])?;
    Ok(true)
}

/// Takes the listener of a predecessor that answers on `door`, if it listens on `address`.
pub(crate) fn inherit(
    mut door: UnixStream,
    address: SocketAddr,
) -> io::Result<Option<TcpListener>> {
    door.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        &door,
        &mut [IoSliceMut::new(&mut byte)],
        &mut message,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let given: Option<OwnedFd> = message.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut given) => given.next(),
        _ => None,
    });
    let Some(listener) = given.map(TcpListener::from) else {
        return Ok(None);
    };
    if listener.local_addr()? != address {
        return Ok(None);
    }
    door.write_all(&[TAKE])?;
    Ok(Some(listener))
}
