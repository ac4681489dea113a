//! The root directory of a process: a small tmpfs with the machine's programs read-only, the app, and little else.
//!
//! Never the machine's own `/`: that would show other people's homes and our state. Runs in the child, in its new mount
//! namespace, with the state directory as working directory.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{chdir, pivot_root};

use super::Fault;
use super::sys;
use crate::local::layout::{MOUNT_LOWER, MOUNT_ROOT};
use crate::local::record::{Plan, Spec, TreeRecord};

/// Kernel interfaces that most programs expect in `/dev`.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links from `/` into `/usr`, on machines that have merged them.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib64", "lib32"];

const NO_FS: Option<&str> = None;

/// Puts the root together and moves into it; afterwards nothing of the machine's own tree can be reached.
pub(super) fn enter(spec: &Spec) -> Result<(), Fault> {
    let root = Path::new(MOUNT_ROOT);
    mount(
        NO_FS,
        "/",
        NO_FS,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NO_FS,
    )
    .map_err(Fault::of("separate the mounts"))?;
    tmpfs(root, "size=1m,mode=755", MsFlags::MS_NODEV)?;
    for dir in ["proc", "sys", "dev", "tmp", "run", "var/tmp", "app", "old"] {
        fs::create_dir_all(root.join(dir)).map_err(Fault::of("make the root's directories"))?;
    }
    programs(root)?;
    tmpfs(&root.join("tmp"), "size=1g,mode=1777", MsFlags::MS_NODEV)?;
    tmpfs(&root.join("run"), "size=16m,mode=755", MsFlags::MS_NODEV)?;
    bind_rec(&root.join("tmp"), &root.join("var/tmp"))?;
    names(root)?;
    devices(&root.join("dev"))?;
    own_proc(&spec.plan, root)?;
    app(spec, root)?;
    for dir in &spec.read_only {
        read_only(dir, root)?;
    }
    for (source, inside) in &spec.volumes {
        volume(source, Path::new(inside), root)?;
    }
    leave_old(root)
}

fn tmpfs(at: &Path, options: &str, flags: MsFlags) -> Result<(), Fault> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | flags,
        Some(options),
    )
    .map_err(Fault::of(format!("mount a tmpfs on {}", at.display())))
}

fn bind_rec(source: &Path, at: &Path) -> Result<(), Fault> {
    mount(
        Some(source),
        at,
        NO_FS,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NO_FS,
    )
    .map_err(Fault::of(format!("show {}", source.display())))
}

/// `/usr` and `/etc`, read-only, and what leads into them.
fn programs(root: &Path) -> Result<(), Fault> {
    for dir in ["/usr", "/etc"] {
        read_only(Path::new(dir), root)?;
    }
    for name in MERGED {
        let outside = Path::new("/").join(name);
        match fs::read_link(&outside) {
            Ok(target) => std::os::unix::fs::symlink(target, root.join(name))
                .map_err(Fault::of("link the programs"))?,
            Err(_) if outside.is_dir() => read_only(&outside, root)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Shows a directory of the machine at the same place, read-only.
fn read_only(dir: &Path, root: &Path) -> Result<(), Fault> {
    let at = root.join(dir.strip_prefix("/").unwrap_or(dir));
    fs::create_dir_all(&at).map_err(Fault::of(format!("make {}", dir.display())))?;
    bind_rec(dir, &at)?;
    seal(&at, true)
}

fn seal(at: &Path, read_only: bool) -> Result<(), Fault> {
    let path = CString::new(at.as_os_str().as_bytes()).map_err(Fault::of("name a mount"))?;
    sys::seal_mount(&path, read_only).map_err(Fault::of(format!("seal {}", at.display())))
}

/// Where systemd resolves names, `/etc/resolv.conf` leads into `/run`, which is not the machine's here.
fn names(root: &Path) -> Result<(), Fault> {
    let Ok(file) = fs::canonicalize("/etc/resolv.conf") else {
        return Ok(());
    };
    let Ok(inside) = file.strip_prefix("/run") else {
        return Ok(());
    };
    let at = root.join("run").join(inside);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent).map_err(Fault::of("make room for resolv.conf"))?;
    }
    File::create(&at).map_err(Fault::of("make room for resolv.conf"))?;
    bind_rec(&file, &at)?;
    seal(&at, true)
}

fn devices(dev: &Path) -> Result<(), Fault> {
    tmpfs(dev, "size=64k,mode=755", MsFlags::MS_NOEXEC)?;
    for name in DEVICES {
        let at = dev.join(name);
        File::create(&at).map_err(Fault::of("make a device"))?;
        bind_rec(&Path::new("/dev").join(name), &at)?;
    }
    for dir in ["pts", "shm"] {
        fs::create_dir(dev.join(dir)).map_err(Fault::of("make /dev"))?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // Only terminals need it, and some containers refuse it: an app without is an app all the same.
    let options = "newinstance,ptmxmode=0666,mode=0620";
    let _ = mount(
        Some("devpts"),
        &dev.join("pts"),
        Some("devpts"),
        flags,
        Some(options),
    );
    tmpfs(&dev.join("shm"), "size=64m,mode=1777", MsFlags::MS_NODEV)?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        std::os::unix::fs::symlink(target, dev.join(name)).map_err(Fault::of("make /dev"))?;
    }
    Ok(())
}

fn own_proc(plan: &Plan, root: &Path) -> Result<(), Fault> {
    let at = root.join("proc");
    if !plan.own_proc {
        return bind_rec(Path::new("/proc"), &at);
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &at, Some("proc"), flags, NO_FS).map_err(Fault::of("mount /proc"))
}

fn app(spec: &Spec, root: &Path) -> Result<(), Fault> {
    let at = root.join("app");
    match &spec.tree {
        TreeRecord::Writable(dir) => {
            bind_rec(dir, &at)?;
            seal(&at, false)
        }
        TreeRecord::Slug(slug) if spec.plan.overlay => overlay(&spec.plan, slug, &at),
        TreeRecord::Slug(_) => {
            bind_rec(Path::new(super::layer::COPY), &at)?;
            seal(&at, false)
        }
    }
}

/// The slug below a writable layer. All three directories are named relative to the state directory, because the
/// option's text has no quotes that every kernel understands.
fn overlay(plan: &Plan, slug: &Path, at: &Path) -> Result<(), Fault> {
    bind_rec(slug, Path::new(MOUNT_LOWER))?;
    let mut options = format!(
        "lowerdir={MOUNT_LOWER},upperdir={},workdir={}",
        super::layer::UPPER,
        super::layer::WORK
    );
    if plan.user {
        options.push_str(",userxattr");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("overlay"),
        at,
        Some("overlay"),
        flags,
        Some(options.as_str()),
    )
    .map_err(Fault::of("overlay /app"))
}

/// A volume, writable. Its place may lie in the slug, so no link on the way is followed: it could lead out.
fn volume(source: &Path, inside: &Path, root: &Path) -> Result<(), Fault> {
    let what = || format!("show the volume {}", inside.display());
    let target = descend(root, inside).map_err(Fault::of(what()))?;
    let at = PathBuf::from(format!("/proc/self/fd/{}", target.as_raw_fd()));
    mount(Some(source), &at, NO_FS, MsFlags::MS_BIND, NO_FS).map_err(Fault::of(what()))?;
    let top = descend(root, inside).map_err(Fault::of(what()))?;
    seal(
        &PathBuf::from(format!("/proc/self/fd/{}", top.as_raw_fd())),
        false,
    )
}

/// Opens a directory below `root` step by step, making what is missing; links and `..` are refused.
fn descend(root: &Path, inside: &Path) -> io::Result<OwnedFd> {
    const FLAGS: OFlag = OFlag::O_PATH
        .union(OFlag::O_DIRECTORY)
        .union(OFlag::O_NOFOLLOW)
        .union(OFlag::O_CLOEXEC);
    let mut dir = open(root, FLAGS, Mode::empty())?;
    for component in inside.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL.into()),
        };
        dir = match openat(&dir, name, FLAGS, Mode::empty()) {
            Err(Errno::ENOENT) => {
                mkdirat(&dir, name, Mode::from_bits_truncate(0o755))?;
                openat(&dir, name, FLAGS, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(dir)
}

fn leave_old(root: &Path) -> Result<(), Fault> {
    chdir(root).map_err(Fault::of("enter the root"))?;
    pivot_root(".", "old").map_err(Fault::of("change the root"))?;
    chdir("/").map_err(Fault::of("enter the root"))?;
    umount2("/old", MntFlags::MNT_DETACH).map_err(Fault::of("leave the machine's root"))?;
    let _ = fs::remove_dir("/old");
    let flags = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    mount(NO_FS, "/", NO_FS, flags, NO_FS).map_err(Fault::of("seal the root"))
}
