//! Environments at rest: encrypted on the way into the store, opened on the way to an engine or an owner's eyes.
//!
//! XChaCha20-Poly1305; a blob is a key number (one byte), a random nonce (24 bytes) and the sealed text. The app's name is
//! authenticated with it, so that a blob moved to another app does not open.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hoist_core::id::AppName;

const KEY_NUMBER: u8 = 1;
const NONCE_LEN: usize = 24;

/// Variables of a release by name.
pub(crate) type Env = BTreeMap<String, String>;

/// What can go wrong with secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file cannot be read or made.
    #[error("the key file {path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no key, but there are environments.
    #[error("the key file {0} is missing, and there are environments that only it opens")]
    KeyMissing(PathBuf),
    /// The key file does not hold a key.
    #[error(
        "the key file {0} does not hold 32 bytes: restore it from a backup, without it environments cannot be read"
    )]
    KeyLength(PathBuf),
    /// A blob does not open with this key.
    #[error("an environment cannot be opened: it was sealed with another key")]
    Sealed,
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random,
}

/// The bytes of the key.
pub(crate) fn read_key(path: &Path) -> Result<[u8; 32], SecretError> {
    let bytes = fs::read(path).map_err(|source| SecretError::Key {
        path: path.to_owned(),
        source,
    })?;
    bytes
        .try_into()
        .map_err(|_| SecretError::KeyLength(path.to_owned()))
}

/// The rack's key. Has no `Debug`.
pub struct Keyring {
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Reads the key, or makes one at the first start.
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Key {
            path: path.to_owned(),
            source,
        };
        let bytes = match read_key(path) {
            Ok(key) => key,
            Err(SecretError::Key { source: error, .. })
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                let mut bytes = [0u8; 32];
                getrandom::fill(&mut bytes).map_err(|_| SecretError::Random)?;
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed)?;
                file.write_all(&bytes).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                bytes
            }
            Err(error) => return Err(error),
        };
        Ok(Self::of(bytes))
    }

    /// A key that is kept elsewhere.
    pub(crate) fn of(key: [u8; 32]) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&Key::from(key)),
        }
    }

    /// Encrypts an environment for the store.
    pub fn seal(&self, app: &AppName, env: &Env) -> Result<Vec<u8>, SecretError> {
        let text = serde_json::to_vec(env).map_err(|_| SecretError::Sealed)?;
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SecretError::Random)?;
        let payload = Payload {
            msg: &text,
            aad: app.as_str().as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::Sealed)?;
        let mut blob = vec![KEY_NUMBER];
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    /// Opens an environment from the store.
    pub fn open_env(&self, app: &AppName, blob: &[u8]) -> Result<Env, SecretError> {
        let (number, rest) = blob.split_first().ok_or(SecretError::Sealed)?;
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SecretError::Sealed)?;
        if *number != KEY_NUMBER {
            return Err(SecretError::Sealed);
        }
        let payload = Payload {
            msg: sealed,
            aad: app.as_str().as_bytes(),
        };
        let text = self
            .cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| SecretError::Sealed)?;
        serde_json::from_slice(&text).map_err(|_| SecretError::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_opens_only_for_its_app_and_key() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ring = Keyring::open(&dir.path().join("key")).expect("a new key");
        let again = Keyring::open(&dir.path().join("key")).expect("the same key");
        let other = Keyring::open(&dir.path().join("other")).expect("another key");
        let shop: AppName = "shop".parse().expect("a name");
        let blog: AppName = "blog".parse().expect("a name");
        let env = Env::from([("TOKEN".to_owned(), "a\nb".to_owned())]);
        let blob = ring.seal(&shop, &env).expect("sealed");
        assert!(!blob.windows(3).any(|w| w == b"a\\n"));
        assert_eq!(again.open_env(&shop, &blob).expect("opened"), env);
        assert!(again.open_env(&blog, &blob).is_err());
        assert!(other.open_env(&shop, &blob).is_err());
        let mut torn = blob.clone();
        torn.pop();
        assert!(again.open_env(&shop, &torn).is_err());
    }
}
