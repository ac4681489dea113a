//! Exports as files: what the rack that writes one and the command line that looks at its beginning agree on.
//!
//! An export is a tar archive. Its first entry is JSON and says what it is; its last one, [`END`], holds the SHA-256 of all
//! before it, so that one that was cut short or changed is known.

use serde::Deserialize;

/// The first entry of an app's export.
pub const APP_HEAD: &str = "hoist-app.json";
/// The first entry of a build's export.
pub const BUILD_HEAD: &str = "hoist-build.json";
/// The last entry of any.
pub const END: &str = "end.json";
/// Entries below it belong to a build: `builds/B…/…`.
pub const BUILDS: &str = "builds";
/// An entry that may come before the export where it is uploaded: the passphrase that opens its env. Never in a file.
pub const PASSPHRASE: &str = "passphrase";
/// Bytes that a passphrase may have.
pub const PASSPHRASE_BYTES_MAX: usize = 4 << 10;
/// Bytes that the first entry may have.
pub const HEAD_BYTES_MAX: u64 = 64 << 20;

/// What the first entry says, as far as a client needs it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct About {
    /// The app that it was made of.
    pub app: String,
    /// Its builds, oldest first.
    #[serde(default)]
    pub builds: Vec<Named>,
    /// Its releases, oldest first.
    #[serde(default)]
    pub releases: Vec<Named>,
    /// Its volumes, by name.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Releases that stayed behind.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What opens its env; without one the env is not in it.
    #[serde(default)]
    key: Option<serde::de::IgnoredAny>,
}

/// A record, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// The id.
    pub id: String,
}

/// A release that is not in an export.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeftOut {
    /// Its id.
    pub id: String,
    /// Why, in a sentence.
    pub why: String,
}

impl About {
    /// Whether the env is in it, sealed.
    pub fn sealed(&self) -> bool {
        self.key.is_some()
    }
}
