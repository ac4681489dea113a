//! The system calls that no library wraps safely. All `unsafe` of the project is in this one file.
//!
//! The shim has one thread, which is what makes a bare `clone` sound here: no lock can be held by a thread that the child
//! does not have.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sched::CloneFlags;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::unix::AsyncFd;

/// Which side of a clone one is on.
pub(super) enum Side {
    Child,
    Parent {
        pid: i32,
        pidfd: OwnedFd,
        /// Whether the child began in the cgroup that was asked for.
        placed: bool,
    },
}

/// Clones this process into new namespaces and, where the kernel can do that, into a cgroup of version 2. The child
/// continues on a copy of the stack, as after `fork`.
///
/// Without a cgroup it is the older call, because the seccomp filters of containers often refuse the newer one.
pub(super) fn clone_process(flags: CloneFlags, cgroup: Option<BorrowedFd>) -> io::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    let mut placed = false;
    let mut pid = -1;
    if let Some(cgroup) = cgroup {
        pid = clone_into(flags, cgroup, &mut pidfd);
        placed = pid >= 0;
    }
    if pid < 0 {
        let flags = flags.bits() | libc::CLONE_PIDFD | libc::SIGCHLD;
        // SAFETY: without CLONE_VM the child has its own copy of all memory, and a null stack means the same stack; the
        // process has one thread; `pidfd` lives until the call returns, which is when the kernel has written it.
        pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                libc::c_long::from(flags),
                std::ptr::null::<libc::c_void>(),
                &raw mut pidfd,
                std::ptr::null::<libc::c_void>(),
                std::ptr::null::<libc::c_void>(),
            )
        };
    }
    match pid {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent {
                pid: pid as i32,
                pidfd,
                placed,
            })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

fn clone_into(flags: CloneFlags, cgroup: BorrowedFd, pidfd: &mut libc::c_int) -> libc::c_long {
    /// Missing in the library: start in the cgroup of a descriptor.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut args = libc::clone_args {
        flags: flags.bits() as u64 | libc::CLONE_PIDFD as u64 | CLONE_INTO_CGROUP,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.as_raw_fd() as u64,
    };
    // SAFETY: as for the older call above; the arguments live until the call returns.
    unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    }
}

/// Ends this process at once, without the clean-up that belongs to the process it was cloned from.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: has no precondition.
    unsafe { libc::_exit(code) }
}

/// Makes a mount and all below it read-only and deaf to setuid bits. Keeps locked flags, so it works in user namespaces.
pub(super) fn seal_mount(path: &CStr, read_only: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = libc::MOUNT_ATTR_NOSUID
        | if read_only {
            libc::MOUNT_ATTR_RDONLY
        } else {
            libc::MOUNT_ATTR_NODEV
        };
    let attr = MountAttr {
        set: attributes,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: both pointers are valid for the call, and the size is that of what is pointed at.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives up all capabilities that programs executed later could have, as far as we are allowed to.
pub(super) fn drop_capability_bounds() {
    for capability in 0..64 {
        // SAFETY: takes numbers only; unknown ones are refused by the kernel.
        let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if done != 0 && capability > 0 {
            break;
        }
    }
}

/// Gives every signal its default action, whatever the shim, the rack and who started it made of them.
pub(super) fn default_signals() {
    const LAST: libc::c_int = 64;
    for signal in 1..=LAST {
        // SAFETY: installs no code of ours; numbers that cannot be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Opens a terminal: the end of whoever sits before it, which never waits, and the end of programs.
///
/// It is one of the devpts that shows as `/dev/pts` here, so that its name means it to all who share this root.
pub(super) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let near = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open("/dev/ptmx")?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one number, which lives until the call returns.
    done(unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes a number only.
    let far = done(unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok((near.into(), unsafe { OwnedFd::from_raw_fd(far) }))
}

/// Makes a terminal the one that the calling process controls, which must lead a session.
pub(super) fn control_terminal(far: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes a number only.
    done(unsafe { libc::ioctl(far.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Tells a terminal its size; the programs on it get a signal when it is another one.
pub(in crate::local) fn set_terminal_size(
    end: BorrowedFd,
    columns: u16,
    rows: u16,
) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel reads one structure, which lives until the call returns.
    done(unsafe { libc::ioctl(end.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Lets the rack's runtime say when a descriptor that never waits has something to say. Must be called within one.
pub(in crate::local) fn watch(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open and the same until it is dropped, and nobody can take it out of what is returned
    // without ending that.
    unsafe { AsyncFd::register(end) }.map_err(io::Error::from)
}

fn done(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

/// Receives one message with the descriptors that come along. None when the other side is gone.
pub(in crate::local) fn receive(socket: BorrowedFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    const FILES_MAX: usize = 8;
    /// A path, and some more.
    const TEXT_MAX: usize = 8 << 10;
    let mut text = vec![0; TEXT_MAX];
    let mut space = nix::cmsg_space!([RawFd; FILES_MAX]);
    let mut slices = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let count = message.bytes;
    let mut files = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
            files.extend(
                received
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    text.truncate(count);
    Ok((count > 0).then_some((text, files)))
}

/// Closes every descriptor above the three standard ones.
///
/// Call only where no value that owns a descriptor is used afterwards: at the very start, and just before an exec.
pub(super) fn close_all_but_standard() {
    close_from(3);
}

/// Closes every descriptor from a number on, on the same condition.
pub(super) fn close_from(first: u32) {
    // SAFETY: closing is not memory-unsafe; the callers own nothing that is used later, see above.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
}

/// Hands freed memory back to the machine.
pub(super) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd as _;

    /// Needs root and a mounted cgroup v2, with or without controllers; says so where it has neither.
    #[test]
    fn a_clone_begins_in_its_cgroup() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts
            .lines()
            .find(|line| line.contains(" cgroup2 "))
            .and_then(|line| line.split(' ').nth(1));
        let name = format!("hoist-test-{}", std::process::id());
        let dir = mount.map(|mount| std::path::Path::new(mount).join(&name));
        let Some(dir) = dir.filter(|dir| fs::create_dir(dir).is_ok()) else {
            println!("not run: no cgroup v2 that we may write to");
            return;
        };
        let cgroup = fs::File::open(&dir).unwrap();
        match clone_process(CloneFlags::empty(), Some(cgroup.as_fd())).unwrap() {
            Side::Child => loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            },
            Side::Parent { pid, placed, .. } => {
                let found = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
                let pid = nix::unistd::Pid::from_raw(pid);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
                nix::sys::wait::waitpid(pid, None).unwrap();
                let _ = fs::remove_dir(&dir);
                assert!(placed);
                assert!(found.contains(&format!("0::/{name}")), "{found}");
            }
        }
    }
}
