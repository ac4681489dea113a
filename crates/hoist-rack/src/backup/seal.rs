//! A key behind a passphrase: Argon2id makes a key of it, XChaCha20-Poly1305 seals with that.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use super::Passphrase;
use crate::secrets::SecretError;

/// Memory that trying one passphrase costs, in KiB.
const MEMORY_KIB: u32 = 64 << 10;
/// Passes over it.
const PASSES: u32 = 3;
/// What a file may ask of the machine that reads it, in KiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 32;
/// What a sealed key is for: authenticated with it, so that it means nothing elsewhere.
pub(crate) type Purpose = &'static [u8];
/// The key of a rack, in a backup.
pub(crate) const BACKUP_KEY: Purpose = b"hoist backup key 1";
/// The key of environments in an export.
pub(crate) const EXPORT_KEY: Purpose = b"hoist export key 1";

/// A sealed key, with what opens it apart from the passphrase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SealedKey {
    kdf: String,
    memory_kib: u32,
    passes: u32,
    salt: [u8; 16],
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

impl SealedKey {
    pub(crate) fn seal(
        key: &[u8; 32],
        passphrase: &Passphrase,
        purpose: Purpose,
    ) -> Result<Self, SecretError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        getrandom::fill(&mut salt).map_err(|_| SecretError::Random)?;
        getrandom::fill(&mut nonce).map_err(|_| SecretError::Random)?;
        let cipher = cipher(passphrase, &salt, MEMORY_KIB, PASSES).ok_or(SecretError::Sealed)?;
        let payload = Payload {
            msg: key,
            aad: purpose,
        };
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::Sealed)?;
        Ok(Self {
            kdf: "argon2id".to_owned(),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt,
            nonce,
            sealed,
        })
    }

    /// None for a wrong passphrase, or a key that is damaged.
    pub(crate) fn open(&self, passphrase: &Passphrase, purpose: Purpose) -> Option<[u8; 32]> {
        let affordable = self.memory_kib <= MEMORY_KIB_MAX && self.passes <= PASSES_MAX;
        if self.kdf != "argon2id" || !affordable {
            return None;
        }
        let cipher = cipher(passphrase, &self.salt, self.memory_kib, self.passes)?;
        let payload = Payload {
            msg: &self.sealed,
            aad: purpose,
        };
        let opened = cipher.decrypt(&XNonce::from(self.nonce), payload).ok()?;
        opened.try_into().ok()
    }
}

fn cipher(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    memory_kib: u32,
    passes: u32,
) -> Option<XChaCha20Poly1305> {
    let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, &mut key)
        .ok()?;
    Some(XChaCha20Poly1305::new(&Key::from(key)))
}
