//! What the command line needs of a rack in its own process, without knowing how a rack is made.
//!
//! The binary that links a rack implements [`RackStarter`]; a client-only build passes none.

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
