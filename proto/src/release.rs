//! The way back without the controller: what an isolated host shows, and the two answers that open it,
//! a short code to type and a signed file on a stick. A code for another [`Purpose`], to stop the agent, is made in the
//! same way.
//!
//! ```text
//!   host                                             holder of a release key r, with R = r·B in the policy
//!   draws e; E = e·B
//!   challenge = (version, end of host id, E, check) ── shown, reported ──> code = KDF(r·E, challenge, R)
//!   code = KDF(e·R, challenge, R)                                                     │
//!   keeps SHA-256(challenge, code), forgets e and code  <────────── typed ────────────'
//! ```
//!
//! What each part is there for:
//!
//! - **`e` is drawn for one isolation**, so a code opens no other one and no other host. The host takes each
//!   code once and only for a time; that is its own bookkeeping.
//! - **`e` and the code are forgotten at once.** Whoever reads all that the host stores finds public keys and a hash over
//!   80 random bits, too many to be guessed without the host's slow answer. It is no wall against root, who can remove the
//!   rules by hand, but the agent never takes that for a release by somebody who holds a key.
//! - **The purpose** is the first byte of a challenge and the label of the key derivation: a code that stops the agent
//!   opens no host, and the other way round, even when the same `e` were drawn for both.
//! - **The end of the host's id** shows people which host they are about to open. It is part of what the code is derived
//!   from: changed on the way, it leads to a code that opens nothing.
//! - **The check letters** tell a mistyped challenge at once, not by a code that does not work.
//! - **One Ed25519 key pair** serves both answers, as an X25519 key for codes and as itself for files. That this is sound is
//!   shown in <https://eprint.iacr.org/2021/509>; the contexts are apart by HKDF's label and by DSSE's payload type.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use ed25519_dalek::{SigningKey, VerifyingKey};
use hkdf::Hkdf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::envelope::Signed;
use crate::id::HostId;
use crate::policy::parse_public_key;

/// Most release keys of one policy: each costs a host work at every isolation.
pub const MAX_RELEASE_KEYS: usize = 4;

const MAX_NAME_CHARS: usize = 64;
const TAIL_BYTES: usize = 4;
const CHECK_BYTES: usize = 3;
const BODY_BYTES: usize = 1 + TAIL_BYTES + 32;
const CHALLENGE_BYTES: usize = BODY_BYTES + CHECK_BYTES;
const CODE_BYTES: usize = 10;
const GROUP: usize = 4;

/// Crockford's base 32: no I, L, O or U; they are read as the digits that they look like, and case does not matter.
static LETTERS: LazyLock<Encoding> = LazyLock::new(|| {
    let mut letters = Specification::new();
    letters.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    letters
        .translate
        .from
        .push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    letters
        .translate
        .to
        .push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    letters.encoding().expect("32 letters, none of them twice")
});

/// What an answer to a challenge is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To open an isolated host.
    Release,
    /// To stop the agent, or to take it off the host.
    Stop,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Release, Self::Stop];

    /// First byte of a challenge: which purpose, and which version of it. A number is never used for another one.
    fn number(self) -> u8 {
        match self {
            Self::Release => 1,
            Self::Stop => 2,
        }
    }

    fn code_label(self) -> &'static [u8] {
        match self {
            Self::Release => b"cordon.release-code.v1",
            Self::Stop => b"cordon.stop-code.v1",
        }
    }

    fn digest_label(self) -> &'static [u8] {
        match self {
            Self::Release => b"cordon.release-code.v1 kept",
            Self::Stop => b"cordon.stop-code.v1 kept",
        }
    }
}

/// A key whose holder may open isolated hosts without the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKey {
    /// Who holds it, as a release by it is recorded. 1 to 64 characters.
    pub name: String,
    /// Ed25519 public key, raw, hex (64 digits).
    pub public_key: String,
}

impl ReleaseKey {
    /// The key itself; none when it is not one, or one of the few whose secrets everybody knows.
    pub fn key(&self) -> Option<VerifyingKey> {
        parse_public_key(&self.public_key).filter(|key| !key.is_weak())
    }

    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=MAX_NAME_CHARS).contains(&self.name.chars().count()) {
            return Err(format!(
                "a release key's name has 1 to {MAX_NAME_CHARS} characters"
            ));
        }
        let bad = || {
            let key = &self.public_key;
            format!("release key {key:?} is not an Ed25519 public key in hex")
        };
        self.key().map(drop).ok_or_else(bad)
    }
}

/// What a host shows: 64 letters and digits in groups of four.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge {
    purpose: Purpose,
    host: [u8; TAIL_BYTES],
    point: VerifyingKey,
}

impl Challenge {
    /// [`Self::draw_for`] a release.
    pub fn draw(seed: [u8; 32], host: HostId, keys: &[VerifyingKey]) -> (Self, Vec<Code>) {
        Self::draw_for(Purpose::Release, seed, host, keys)
    }

    /// A challenge and, in the order of `keys`, the codes that answer it. `seed` is 32 fresh random bytes, used for
    /// nothing else and kept nowhere.
    pub fn draw_for(
        purpose: Purpose,
        seed: [u8; 32],
        host: HostId,
        keys: &[VerifyingKey],
    ) -> (Self, Vec<Code>) {
        let secret = SigningKey::from_bytes(&seed);
        let challenge = Self {
            purpose,
            host: tail(host),
            point: secret.verifying_key(),
        };
        let codes = keys.iter();
        let codes = codes.map(|key| challenge.code(&secret, key, key)).collect();
        (challenge, codes)
    }

    /// The code that answers it, by the holder of a release key.
    pub fn answer(&self, key: &SigningKey) -> Code {
        self.code(key, &self.point, &key.verifying_key())
    }

    /// What an answer to it is good for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether it can be this host's.
    pub fn is_for(&self, host: HostId) -> bool {
        self.host == tail(host)
    }

    /// The last eight digits of the id of the host that shows it.
    pub fn host_ends_in(&self) -> String {
        hex::encode(self.host)
    }

    fn code(&self, own: &SigningKey, other: &VerifyingKey, release: &VerifyingKey) -> Code {
        let shared = other.to_montgomery().mul_clamped(own.to_scalar_bytes());
        let mut code = [0; CODE_BYTES];
        Hkdf::<Sha256>::new(Some(self.purpose.code_label()), shared.as_bytes())
            .expand_multi_info(&[&self.body(), release.as_bytes()], &mut code)
            .expect("HKDF gives ten bytes");
        Code(code)
    }

    fn body(&self) -> [u8; BODY_BYTES] {
        let mut body = [self.purpose.number(); BODY_BYTES];
        body[1..=TAIL_BYTES].copy_from_slice(&self.host);
        body[1 + TAIL_BYTES..].copy_from_slice(self.point.as_bytes());
        body
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        write_groups(f, &[&body[..], &check(&body)].concat())
    }
}

impl FromStr for Challenge {
    type Err = TypedError;

    fn from_str(text: &str) -> Result<Self, TypedError> {
        let bytes: [u8; CHALLENGE_BYTES] = read(text)?;
        let (body, found) = bytes.split_at(BODY_BYTES);
        if found != check(body) {
            return Err(TypedError::Check);
        }
        let mut purposes = Purpose::ALL.into_iter();
        let purpose = purposes.find(|purpose| purpose.number() == body[0]);
        let purpose = purpose.ok_or(TypedError::Version(body[0]))?;
        let (host, point) = body[1..].split_at(TAIL_BYTES);
        let point = point.try_into().ok();
        let point = point.and_then(|point| VerifyingKey::from_bytes(point).ok());
        Ok(Self {
            purpose,
            host: host.try_into().map_err(|_| TypedError::Check)?,
            // By a weak point the code would not depend on the key.
            point: point
                .filter(|point| !point.is_weak())
                .ok_or(TypedError::Forged)?,
        })
    }
}

impl TryFrom<String> for Challenge {
    type Error = TypedError;

    fn try_from(text: String) -> Result<Self, TypedError> {
        text.parse()
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> Self {
        challenge.to_string()
    }
}

/// What is typed at the host: 16 letters and digits in groups of four, 80 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; CODE_BYTES]);

impl Code {
    /// What the host keeps of it, hex. The challenge is its salt.
    pub fn digest(&self, challenge: &Challenge) -> String {
        let mut hash = Sha256::new_with_prefix(challenge.purpose.digest_label());
        hash.update(challenge.body());
        hash.update(self.0);
        hex::encode(hash.finalize())
    }
}

/// Not the code: it must not end up in a log.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_groups(f, &self.0)
    }
}

impl FromStr for Code {
    type Err = TypedError;

    fn from_str(text: &str) -> Result<Self, TypedError> {
        read(text).map(Self)
    }
}

/// The answer on a stick. It is as good as the challenge in it: for one isolation of one host, once, and for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFile {
    /// The challenge that it answers.
    pub challenge: Challenge,
    /// Why, in the words of whoever signed it.
    pub reason: String,
    /// When it was signed.
    pub issued_at: Timestamp,
}

impl Signed for ReleaseFile {
    const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.release.v1+json";
}

/// Why typed text is not a challenge, or not a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedError {
    /// Too short or too long.
    #[error("it has {wanted} letters and digits, dashes and spaces aside, and this has {found}")]
    Length {
        /// As it should be.
        wanted: usize,
        /// As it is.
        found: usize,
    },
    /// A character that is never in it.
    #[error("there is no {0:?} in it: it has digits and letters, none of them U")]
    Letter(char),
    /// Typed wrong somewhere.
    #[error("it is mistyped, its last letters do not fit the others: compare it again")]
    Check,
    /// Of another version.
    #[error(
        "it is of version {0}, which this program does not know: use one as new as the host's agent"
    )]
    Version(u8),
    /// Made to be answered by anybody.
    #[error("no agent made it: do not answer it, and look into where it came from")]
    Forged,
}

fn tail(host: HostId) -> [u8; TAIL_BYTES] {
    let mut tail = [0; TAIL_BYTES];
    tail.copy_from_slice(&host.0.as_bytes()[16 - TAIL_BYTES..]);
    tail
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&Sha256::digest(body)[..CHECK_BYTES]);
    check
}

fn write_groups(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (index, letter) in LETTERS.encode(bytes).chars().enumerate() {
        if index > 0 && index.is_multiple_of(GROUP) {
            f.write_str("-")?;
        }
        write!(f, "{letter}")?;
    }
    Ok(())
}

/// What [`write_groups`] wrote, however it was grouped when it was typed.
fn read<const N: usize>(text: &str) -> Result<[u8; N], TypedError> {
    let is_letter = |c: &char| !c.is_whitespace() && *c != '-';
    let wanted = N * 8 / 5;
    let found = text.chars().filter(is_letter).count();
    if found != wanted {
        return Err(TypedError::Length { wanted, found });
    }
    let is_strange = |c: &char| !c.is_ascii_alphanumeric() || matches!(c, 'u' | 'U');
    if let Some(strange) = text.chars().filter(is_letter).find(is_strange) {
        return Err(TypedError::Letter(strange));
    }
    let letters: String = text.chars().filter(is_letter).collect();
    let bytes = LETTERS.decode(letters.as_bytes()).unwrap_or_default();
    bytes.try_into().map_err(|_| TypedError::Check)
}
