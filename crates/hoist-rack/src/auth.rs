//! Who may ask: tokens, of which only digests are compared.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hoist_api::endpoint::Scope;
use sha2::{Digest, Sha256};

use crate::error::RackError;

/// The tokens of a rack. So far one: the administrator's.
pub(crate) struct Tokens {
    admin: [u8; 32],
}

impl Tokens {
    /// Reads the administrator's token, or makes one (mode 0600) at the first start.
    pub(crate) fn open(path: &Path) -> Result<Self, RackError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path)?,
            Err(error) => return Err(RackError::io("read the token")(error)),
        };
        let token = text.trim();
        if token.len() < 32 {
            return Err(RackError::Invalid(format!(
                "{} does not hold a token: delete it, and the next start makes one",
                path.display()
            )));
        }
        Ok(Self {
            admin: Sha256::digest(token.as_bytes()).into(),
        })
    }

    /// What a token allows; none when it is unknown. Takes the same time for every wrong token.
    pub(crate) fn scope(&self, token: &str) -> Option<Scope> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let different = digest
            .iter()
            .zip(self.admin)
            .fold(0, |different, (a, b)| different | (a ^ b));
        (different == 0).then_some(Scope::Admin)
    }
}

fn make(path: &Path) -> Result<String, RackError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| RackError::Secret(crate::secrets::SecretError::Random))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let doing = "write the token";
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(RackError::io(doing))?;
    file.write_all(format!("{token}\n").as_bytes())
        .map_err(RackError::io(doing))?;
    file.sync_all().map_err(RackError::io(doing))?;
    Ok(token)
}
