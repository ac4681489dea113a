//! What the command line needs of a rack in its own process, without knowing how a rack is made.
//!
//! The binary that links a rack implements [`RackStarter`]; a client-only build passes none.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts racks in this process. Called on a runtime with several threads and all drivers.
pub trait RackStarter: Send + Sync {
    /// Starts a rack and returns once its API serves and the data directory says where. What was started is stopped
    /// again when this fails or is dropped.
    fn start(&self, options: RackOptions)
    -> BoxFuture<'_, Result<Box<dyn RunningRack>, RackError>>;

    /// Stops the processes of all apps and the router of a data directory that no rack holds. Idempotent.
    fn stop_apps<'a>(&'a self, data_dir: &'a Path)
    -> BoxFuture<'a, Result<StoppedApps, RackError>>;

    /// Writes a backup of the rack in a data directory, whether it runs or not. What was written when it fails is no
    /// backup.
    fn backup<'a>(
        &'a self,
        data_dir: &'a Path,
        wish: BackupWish,
        to: File,
    ) -> BoxFuture<'a, Result<BackupContents, RackError>>;

    /// Makes a data directory, which must be empty or absent, from a backup. Changes nothing when it fails.
    fn restore<'a>(
        &'a self,
        file: &'a Path,
        data_dir: &'a Path,
        passphrase: Option<Passphrase>,
        without_key: bool,
    ) -> BoxFuture<'a, Result<Restored, RackError>>;
}

/// What somebody knows by heart. Its `Debug` does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// None for an empty one.
    pub fn new(text: &str) -> Option<Self> {
        Some(Self(text.to_owned())).filter(|passphrase| !passphrase.0.is_empty())
    }

    /// The passphrase itself, for what makes a key of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What goes into a backup beside the store.
pub struct BackupWish {
    /// Seals the key; without one the key stays out.
    pub passphrase: Option<Passphrase>,
    /// Leave out slugs.
    pub without_slugs: bool,
    /// Take volumes along.
    pub with_volumes: bool,
}

/// What is in a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupContents {
    /// Apps, by name.
    pub apps: Vec<String>,
    /// How many slugs.
    pub slugs: u32,
    /// How many volumes.
    pub volumes: u32,
    /// Whether the key is in it, or came out of it.
    pub key: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: u64,
    /// The version of Hoist that made it.
    pub version: String,
}

/// What became of a restore.
pub enum Restored {
    /// The data directory is there.
    Done(BackupContents),
    /// Nothing, since the key in it needs a passphrase; the error says so.
    Sealed(RackError),
}

/// A rack that runs in this process.
pub trait RunningRack: Send {
    /// Where its API listens.
    fn listen(&self) -> SocketAddr;

    /// Where its router listens.
    fn router(&self) -> SocketAddr;

    /// Completes when the rack ended without [`RunningRack::shutdown`]: it was told to stop through its API (with the
    /// apps or without, as it was told), or a fault ended it.
    fn ended(&mut self) -> BoxFuture<'_, Result<(), RackError>>;

    /// Stops the rack; with `apps` the processes of all apps and the router too. An app that was up is up again after
    /// the next start. Ends within the grace of the slowest process.
    fn shutdown(self: Box<Self>, apps: bool) -> BoxFuture<'static, Result<(), RackError>>;
}

/// How to start a rack: the flags of `rack start`, with their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RackOptions {
    /// Where it keeps its state. May not exist yet.
    pub data_dir: PathBuf,
    /// Where its API listens; port 0 means any.
    pub listen: SocketAddr,
    /// Where its router listens; port 0 means any.
    pub router: SocketAddr,
    /// Where its apps run.
    pub engine: String,
    /// Apps are reached at `<app>.<domain>`.
    pub domain: String,
    /// Its name; none for the one that it has, or the machine's.
    pub name: Option<String>,
}

/// What [`RackStarter::stop_apps`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoppedApps {
    /// Processes that were told to stop and are gone.
    pub processes: u32,
    /// Whether a router was stopped.
    pub router: bool,
}

/// Why a rack could not be started or stopped, in words for users.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RackError {
    /// What failed: one sentence, without its cause.
    pub message: String,
    /// One command or change that helps.
    pub hint: Option<String>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
