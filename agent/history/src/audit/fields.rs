//! `key=value` pairs, and what a value is.

use crate::Damage;

/// What separates what the kernel said from what `log_format = ENRICHED` adds.
const ENRICHMENT: u8 = 0x1d;

/// A value as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Between quotes.
    Quoted(&'a [u8]),
    Bare(&'a [u8]),
}

/// The pairs of a record, in their order.
#[derive(Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// What the kernel or program said itself.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let end = memchr::memchr(ENRICHMENT, bytes);
        Self(&bytes[..end.unwrap_or(bytes.len())])
    }

    /// What the daemon added.
    pub(super) fn enrichment(bytes: &'a [u8]) -> Self {
        let end = memchr::memchr(ENRICHMENT, bytes);
        Self(end.map_or(&[], |end| &bytes[end + 1..]))
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.clone()
            .find_map(|(name, value)| (name == key.as_bytes()).then_some(value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.trim_ascii_start();
            let end = memchr::memchr2(b'=', b' ', rest)?;
            let (key, after) = (&rest[..end], &rest[end + 1..]);
            if rest[end] == b' ' {
                // A word of an old or a free-form message.
                self.0 = after;
                continue;
            }
            let (value, rest) = value(after);
            self.0 = rest;
            return Some((key, value));
        }
    }
}

fn value(bytes: &[u8]) -> (Value<'_>, &[u8]) {
    let end = match bytes.first() {
        Some(b'"') => memchr::memchr(b'"', &bytes[1..]),
        // What a program says is quoted so, apostrophes and all.
        Some(b'\'') => memchr::memrchr(b'\'', &bytes[1..]),
        _ => None,
    };
    if let Some(end) = end {
        return (Value::Quoted(&bytes[1..=end]), &bytes[end + 2..]);
    }
    let end = memchr::memchr(b' ', bytes).unwrap_or(bytes.len());
    (Value::Bare(&bytes[..end]), &bytes[end..])
}

impl<'a> Value<'a> {
    pub(super) fn raw(self) -> &'a [u8] {
        match self {
            Self::Quoted(bytes) | Self::Bare(bytes) => bytes,
        }
    }

    /// Text that the kernel writes in hexadecimal digits when it has blanks, quotes or the like in it.
    pub(super) fn encoded(self, field: &str) -> Result<Vec<u8>, Damage> {
        match self {
            Self::Quoted(bytes) => Ok(bytes.to_vec()),
            Self::Bare(b"(null)" | b"(none)" | b"?" | b"") => Ok(Vec::new()),
            Self::Bare(digits) => {
                unhex(digits).ok_or_else(|| Damage::field(field, "hexadecimal text", digits))
            }
        }
    }

    /// The same as text, cut; programs also write it as it is.
    pub(super) fn text(self, most: usize) -> String {
        let bytes = match self {
            Self::Bare(digits) => {
                let decoded = unhex(digits).filter(|_| digits.len() >= 2 && is_upper(digits));
                decoded.unwrap_or_else(|| digits.to_vec())
            }
            Self::Quoted(bytes) => bytes.to_vec(),
        };
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
        match text.as_ref() {
            "?" | "(null)" | "(none)" | "(unknown)" => String::new(),
            text => text.to_owned(),
        }
    }

    pub(super) fn number<T: std::str::FromStr>(self, field: &str) -> Result<T, Damage> {
        let digits = str::from_utf8(self.raw()).ok();
        let number = digits.and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| Damage::field(field, "number", self.raw()))
    }

    /// A number in hexadecimal digits.
    pub(super) fn register(self, field: &str) -> Result<u64, Damage> {
        let digits = str::from_utf8(self.raw()).ok();
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.ok_or_else(|| Damage::field(field, "hexadecimal number", self.raw()))
    }
}

/// The kernel writes `A` to `F`; a word of lower-case letters is a word.
fn is_upper(digits: &[u8]) -> bool {
    !digits.iter().any(u8::is_ascii_lowercase)
}

/// Bytes from pairs of hexadecimal digits.
pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8))
        .collect()
}
