//! What a backup's first and last entries say.

use serde::{Deserialize, Serialize};

use super::seal::SealedKey;

/// The newest form that this program reads and the one it writes.
pub(super) const FORMAT: u32 = 1;
/// The first entry.
pub(super) const HEAD: &str = "hoist-backup.json";
/// The store.
pub(super) const STORE: &str = "hoist.db";
/// Trees of builds: `slugs/APP/BUILD/…`.
pub(super) const SLUGS: &str = "slugs";
/// Trees of volumes: `volumes/APP/NAME/…`.
pub(super) const VOLUMES: &str = "volumes";
/// The last entry.
pub(super) const END: &str = "end.json";
/// What follows the entries before the last one: its head, its text, and the end of the archive.
pub(super) const END_BYTES: u64 = 512 + 512 + 1024;

/// The first entry's text. Fields are only added while the format stays.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) version: String,
    pub(super) created_ms: u64,
    pub(super) apps: Vec<String>,
    pub(super) slugs: u32,
    pub(super) volumes: u32,
    #[serde(default)]
    pub(super) key: Option<SealedKey>,
}

/// What every format says, so that a newer one can be named.
#[derive(Debug, Deserialize)]
pub(super) struct AnyHead {
    pub(super) format: u32,
    pub(super) version: String,
}

/// The last entry's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// Of all bytes before the last entry, in hexadecimal.
    pub(super) sha256: String,
}
