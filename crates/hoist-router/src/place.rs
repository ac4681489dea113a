//! The router's directory: who owns it, the table on disk, the control socket.
//!
//! One router per directory, by a lock that the kernel drops with the process. The table is on disk, whole and synced,
//! before anybody is told that it is served.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hoist_core::model::RouteTable;

use crate::wire::WireTable;

/// The control socket's name in the directory.
pub(crate) const SOCKET: &str = "router.sock";
/// The socket at which a router that ends hands on its listener.
const DOOR: &str = "router.heir";
/// How long a taken directory is asked for again.
const TAKEN_LIMIT: Duration = Duration::from_secs(1);
const TAKEN_PAUSE: Duration = Duration::from_millis(10);
const TABLE: &str = "table.json";
const PID: &str = "router.pid";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another router has it.
    #[error("another router{} runs in {}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// The other router's process, when it said so.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Io {
        doing,
        path,
        source,
    }
}

/// A directory that this process owns until the value is dropped.
pub(crate) struct Place {
    dir: PathBuf,
    /// Held open for its lock, and for paths that fit a socket's address.
    lock: File,
    handle: File,
}

impl Place {
    /// Takes the directory, creating it if need be; refuses while another router has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, PlaceError> {
        fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        let path = dir.join(PID);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        lock_soon(&lock, dir, &path)?;
        lock.set_len(0).map_err(io_error("write", &path))?;
        writeln!(lock, "{}", std::process::id()).map_err(io_error("write", &path))?;
        let handle = File::open(dir).map_err(io_error("open", dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            lock,
            handle,
        })
    }

    /// Reads the table of the last life. A file that cannot be read is put aside and said so: it is better to serve
    /// nothing and be told what to serve than to die at every start.
    pub(crate) fn load(&self) -> RouteTable {
        let path = self.dir.join(TABLE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return RouteTable::default(),
            Err(error) => return self.put_aside(&path, &error),
        };
        let wire: WireTable = match serde_json::from_slice(&bytes) {
            Ok(wire) => wire,
            Err(error) => return self.put_aside(&path, &error),
        };
        RouteTable::try_from(wire).unwrap_or_else(|error| self.put_aside(&path, &error))
    }

    fn put_aside(&self, path: &Path, why: &(dyn std::error::Error + 'static)) -> RouteTable {
        let aside = self.dir.join("table.json.unreadable");
        tracing::error!(
            path = %path.display(), kept = %aside.display(), error = why,
            "cannot read the saved table: serving nothing until the rack publishes one"
        );
        if let Err(error) = fs::rename(path, &aside) {
            tracing::error!(path = %path.display(), %error, "cannot put the unreadable table aside");
        }
        RouteTable::default()
    }

    /// Has the table on disk, whole, when it returns.
    pub(crate) fn save(&self, table: &RouteTable) -> Result<(), PlaceError> {
        let path = self.dir.join(TABLE);
        let fresh = self.dir.join("table.json.new");
        let bytes =
            serde_json::to_vec(&WireTable::from(table)).map_err(|error| PlaceError::Io {
                doing: "write",
                path: path.clone(),
                source: error.into(),
            })?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(io_error("create", &fresh))?;
        file.write_all(&bytes).map_err(io_error("write", &fresh))?;
        file.sync_all().map_err(io_error("sync", &fresh))?;
        fs::rename(&fresh, &path).map_err(io_error("replace", &path))?;
        self.handle.sync_all().map_err(io_error("sync", &self.dir))
    }

    /// Binds the control socket anew, for its owner only.
    pub(crate) fn bind_control(&self) -> Result<UnixListener, PlaceError> {
        self.bind(SOCKET)
    }

    /// Binds the socket at which a successor asks for the listener.
    pub(crate) fn bind_door(&self) -> Result<UnixListener, PlaceError> {
        self.bind(DOOR)
    }

    /// Connects to the socket at which a predecessor hands on its listener, if one does. To be asked once: what is left
    /// of a predecessor that is gone is removed.
    pub(crate) fn knock(&self) -> Option<UnixStream> {
        let door = UnixStream::connect(short_path(&self.handle, DOOR)).ok();
        let _ = fs::remove_file(self.dir.join(DOOR));
        door
    }

    fn bind(&self, name: &str) -> Result<UnixListener, PlaceError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
        let listener =
            UnixListener::bind(short_path(&self.handle, name)).map_err(io_error("bind", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(io_error("protect", &path))?;
        listener
            .set_nonblocking(true)
            .map_err(io_error("bind", &path))?;
        Ok(listener)
    }

    /// Gives the directory up, so that a successor can take it while this process finishes what is in flight. To be
    /// called while the control socket still listens: who finds it gone starts a successor.
    pub(crate) fn give_up(&self) {
        // A socket that nobody answers would make callers wait instead of look again.
        let _ = fs::remove_file(self.dir.join(SOCKET));
        let _ = self.lock.unlock();
    }
}

/// Takes the lock, waiting a moment for a router that is about to let go.
fn lock_soon(lock: &File, dir: &Path, path: &Path) -> Result<(), PlaceError> {
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < TAKEN_LIMIT => sleep(TAKEN_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let text = fs::read_to_string(path).unwrap_or_default();
                return Err(PlaceError::Taken {
                    dir: dir.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", path)(source)),
        }
    }
}

/// Removes the socket at which no successor came.
pub(crate) fn close_door(dir: &Path) {
    let _ = fs::remove_file(dir.join(DOOR));
}

/// Whether a router in the directory is about to end and hands its listener on.
pub(crate) fn has_door(dir: &Path) -> bool {
    dir.join(DOOR).exists()
}

/// Connects to the control socket of a directory, however long its path is.
pub(crate) async fn connect_control(dir: &Path) -> io::Result<tokio::net::UnixStream> {
    let handle = File::open(dir)?;
    tokio::net::UnixStream::connect(short_path(&handle, SOCKET)).await
}

/// A path through an open directory: socket addresses end at 108 bytes, data directories do not.
fn short_path(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}
