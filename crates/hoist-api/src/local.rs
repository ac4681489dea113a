//! How a command line on the same machine finds a rack: two files in its data directory.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Holds the admin token, mode 0600, with a line end or without.
pub const TOKEN_FILE: &str = "token";
/// Holds a [`RackFile`] as JSON; written (and renamed into place) once the rack listens. It stays when the rack dies.
pub const RACK_FILE: &str = "rack.json";

/// Where the rack of a data directory listens, or last did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RackFile {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The version of Hoist that wrote it.
    #[serde(default)]
    pub version: String,
    /// Where its apps run.
    #[serde(default)]
    pub engine: String,
    /// Apps are reached at `<app>.<domain>`.
    #[serde(default)]
    pub domain: String,
    /// Where its API listens: an address and port.
    pub listen: String,
    /// Where its router listens.
    #[serde(default)]
    pub router: String,
    /// Its process.
    #[serde(default)]
    pub pid: u32,
    /// When it started.
    #[serde(default)]
    pub started: Time,
}
