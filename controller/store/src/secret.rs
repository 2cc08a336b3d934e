//! What is kept of a secret.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a join token, session cookie or API token.
///
/// These secrets are random and of at least 128 bits, so one unsalted pass is enough, and looking
/// them up by hash leaks no part of them by its timing. Passwords are another matter: they come in
/// as argon2 strings.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Hashes a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The first 12 hex digits: names the secret in lists and in the audit log.
    pub fn name(&self) -> String {
        hex::encode(&self.0[..6])
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHash({})", self.name())
    }
}
