//! Accepts connections on one thread and hands each to the worker with the fewest.
//!
//! One listener, not one per worker: the kernel would spread connections by chance, and a worker with a third more of
//! them is a worker with slower answers.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::worker::{Task, Totals};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;
/// How long data to a client may stay unacknowledged before its connection is given up.
const UNREAD_LIMIT: Duration = Duration::from_secs(60);
/// How long a taken address is asked for again.
const TAKEN_LIMIT: Duration = Duration::from_secs(1);
const TAKEN_PAUSE: Duration = Duration::from_millis(20);
/// How long accepting pauses when there can be no more connections.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Binds the address that clients connect to, waiting a moment for one that is about to be let go.
///
/// The port is never shared with a second listener, not even with one of ours: two racks that were given the same port
/// must hear of it, not serve half of each other's requests. A successor inherits the socket itself.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let begun = Instant::now();
    loop {
        let bound = socket(address).and_then(|socket| {
            socket
                .bind(&address.into())
                .and_then(|()| socket.listen(BACKLOG))
                .map(|()| socket)
        });
        match bound {
            Ok(socket) => return Ok(socket.into()),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < TAKEN_LIMIT =>
            {
                sleep(TAKEN_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the address could be bound, without listening: no client is accepted in passing.
pub(crate) fn check(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit these, which saves two system calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNREAD_LIMIT))?;
    Ok(socket)
}

/// A worker as the acceptor knows it.
pub(crate) struct Lane {
    pub(crate) tasks: mpsc::Sender<Task>,
    pub(crate) totals: Arc<Totals>,
}

/// Accepts until the other side of `end` is closed, then takes what is already in the queue, and tells the workers to end.
///
/// Blocks: the body of the acceptor's thread.
pub(crate) fn accept(
    listener: TcpListener,
    lanes: &[Lane],
    most: u64,
    end: &UnixStream,
) -> io::Result<()> {
    loop {
        let mut watched = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(end.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if watched[1].any().unwrap_or(false) {
            break;
        }
        match listener.accept() {
            Ok((stream, peer)) => hand_over(lanes, stream, peer, most),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(FULL_PAUSE);
            }
        }
    }
    while let Ok((stream, peer)) = listener.accept() {
        hand_over(lanes, stream, peer, u64::MAX);
    }
    drop(listener);
    for lane in lanes {
        // A worker that is gone has nothing to end.
        let _ = lane.tasks.blocking_send(Task::End);
    }
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | WouldBlock
    )
}

fn hand_over(lanes: &[Lane], stream: TcpStream, peer: SocketAddr, most: u64) {
    let open = |lane: &Lane| lane.totals.open.load(Ordering::Relaxed);
    while lanes.iter().map(open).sum::<u64>() >= most {
        sleep(FULL_PAUSE);
    }
    if let Err(error) = stream.set_nonblocking(true) {
        tracing::warn!(%error, "cannot serve a connection");
        return;
    }
    let Some(lane) = lanes.iter().min_by_key(|lane| open(lane)) else {
        return;
    };
    lane.totals.open.fetch_add(1, Ordering::Relaxed);
    if lane.tasks.blocking_send(Task::Serve(stream, peer)).is_err() {
        lane.totals.open.fetch_sub(1, Ordering::Relaxed);
    }
}
