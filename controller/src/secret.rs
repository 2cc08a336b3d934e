//! Secrets of people and programs: passwords, session and API tokens. Only hashes are stored.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use rand::Rng as _;

/// Fewer characters are refused in a password.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// More bytes are refused before hashing: hashing them would be work for nothing.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// Without the letters and digits that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS: usize = 5;
const GROUP_CHARS: usize = 4;

/// Why a password cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PasswordError {
    /// Easy to guess.
    #[error("password is shorter than {MIN_PASSWORD_CHARS} characters")]
    TooShort,
    /// Not a password.
    #[error("password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// The hash function would not; the system has no memory or no randomness.
    #[error("cannot hash the password: {0}")]
    Hash(argon2::password_hash::Error),
}

/// A password of 100 random bits that can be read out and typed: `abcd-efgh-ijkm-npqr-stuv`.
pub fn one_time_password() -> String {
    let mut bytes = [0_u8; GROUPS * GROUP_CHARS];
    rand::rng().fill_bytes(&mut bytes);
    let letters: Vec<char> = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = letters.chunks(GROUP_CHARS).map(String::from_iter).collect();
    groups.join("-")
}

/// Argon2id with its recommended costs, as a PHC string. Takes tens of milliseconds of one core.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash: PasswordHash| hash.to_string())
        .map_err(PasswordError::Hash)
}

/// Whether the password is the one. Takes as long when there is no hash to compare with, so that
/// the time does not say which accounts exist.
pub fn verify_password(password: &str, hash: Option<&str>) -> bool {
    if password.len() > MAX_PASSWORD_BYTES {
        return false;
    }
    let argon2 = Argon2::default();
    if let Some(hash) = hash.and_then(|hash| PasswordHash::new(hash).ok()) {
        return argon2.verify_password(password.as_bytes(), &hash).is_ok();
    }
    // The same work for nothing; its result is of no use.
    let spent: Result<PasswordHash, _> = argon2.hash_password(password.as_bytes());
    drop(spent);
    false
}

/// 256 random bits in hex: a session's cookie or, with a prefix, an API token.
pub fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let password = one_time_password();
        let hash = hash_password(&password).unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify_password(&password, Some(&hash)));
        assert!(!verify_password("another password", Some(&hash)));
        assert!(!verify_password(&password, None));
        assert!(!verify_password(&password, Some("not a hash")));
    }

    #[test]
    fn senseless_passwords_are_refused() {
        assert_eq!(hash_password("short"), Err(PasswordError::TooShort));
        let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
        assert_eq!(hash_password(&long), Err(PasswordError::TooLong));
        assert!(!verify_password(&long, None));
    }

    #[test]
    fn one_time_passwords_are_readable_and_differ() {
        let (one, other) = (one_time_password(), one_time_password());
        assert_ne!(one, other);
        assert_eq!(one.len(), GROUPS * (GROUP_CHARS + 1) - 1);
        assert!(one.split('-').all(|group| group.len() == GROUP_CHARS));
    }
}
