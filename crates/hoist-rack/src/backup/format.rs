//! What a backup's first entry says, and the names of the others.

use serde::{Deserialize, Serialize};

use super::seal::SealedKey;
use crate::archive::Reading;

/// The newest form that this program reads and the one it writes.
pub(super) const FORMAT: u32 = 1;
/// The first entry.
pub(super) const HEAD: &str = "hoist-backup.json";
/// What this program reads.
pub(super) const READING: Reading = Reading {
    head: HEAD,
    format: FORMAT,
};
/// The store.
pub(super) const STORE: &str = "hoist.db";
/// Trees of builds: `slugs/APP/BUILD/…`.
pub(super) const SLUGS: &str = "slugs";
/// Trees of volumes: `volumes/APP/NAME/…`.
pub(super) const VOLUMES: &str = "volumes";

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
