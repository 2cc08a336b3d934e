//! Endpoint text is cut to size before it is kept.

/// Longest name, version or path that is kept, in characters.
const TEXT: usize = 256;
/// Most addresses of one host.
const ADDRESSES: usize = 64;
/// Longest address as text: IPv6 with a zone.
const ADDRESS: usize = 64;

/// At most [`TEXT`] characters, without control characters.
pub(crate) fn text(raw: &str) -> String {
    cut(raw, TEXT)
}

pub(crate) fn addresses(raw: &[String]) -> Vec<String> {
    raw.iter()
        .take(ADDRESSES)
        .map(|address| cut(address, ADDRESS))
        .collect()
}

fn cut(raw: &str, most: usize) -> String {
    raw.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// A boot id as the kernel writes it.
pub(crate) fn is_boot_id(raw: &str) -> bool {
    raw.len() == 36 && raw.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
