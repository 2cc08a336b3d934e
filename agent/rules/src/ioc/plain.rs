//! Plain lists: one indicator a line.

use super::net::Net;
use super::{List, Value, unhex};
use crate::problem::{ProblemKind, quoted};

/// Longest line.
const MOST_LINE: usize = 1024;

pub(super) fn read(bytes: &[u8], list: &mut List<'_>) {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        let text = match std::str::from_utf8(line) {
            Ok(text) if text.len() <= MOST_LINE => without_comment(text).trim(),
            Ok(_) => {
                list.problem(
                    ProblemKind::Broken,
                    number,
                    "",
                    "the line has more than 1024 bytes",
                );
                continue;
            }
            Err(_) => {
                list.problem(ProblemKind::Broken, number, "", "the line is not UTF-8");
                continue;
            }
        };
        if text.is_empty() {
            continue;
        }
        match value(text) {
            Ok(value) => list.add(value, number, "", (None, None)),
            Err((kind, why)) => list.problem(kind, number, "", &format!("{}: {why}", quoted(text))),
        }
    }
}

/// `#`, `;` and `//` begin a comment at the start or after a space.
fn without_comment(line: &str) -> &str {
    let starts = ["#", ";", "//"];
    let begins = |at: usize| at == 0 || line[..at].ends_with([' ', '\t']);
    let found = starts
        .iter()
        .flat_map(|mark| line.match_indices(mark))
        .map(|(at, _)| at)
        .filter(|at| begins(*at));
    &line[..found.min().unwrap_or(line.len())]
}

/// Reads one indicator, defanged or not.
pub(super) fn value(text: &str) -> Result<Value, (ProblemKind, String)> {
    let broken = |why: &str| (ProblemKind::Broken, why.to_owned());
    let unsupported = |why: &str| (ProblemKind::Unsupported, why.to_owned());
    let text = refanged(text);
    if text.contains("://") {
        return Err(unsupported(
            "a URL: a story has names and addresses, no URLs; list the name, if all of it is hostile",
        ));
    }
    if let Some(digest) = unhex(&text) {
        return Ok(Value::Sha256(digest));
    }
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && matches!(text.len(), 32 | 40 | 96 | 128) {
        return Err(unsupported(
            "a hash, and not SHA-256: files are known by that alone",
        ));
    }
    let first = text.split('/').next().unwrap_or_default();
    let is_address = first.parse::<std::net::IpAddr>().is_ok() || text.contains('/');
    if is_address {
        let net = Net::indicator(&text).map_err(|why| broken(&why))?;
        return Ok(Value::Net(net));
    }
    domain(&text).map_err(broken)
}

/// `name.example`, or `*.name.example` and `.name.example` for all names below it too.
pub(super) fn domain(text: &str) -> Result<Value, &'static str> {
    let (name, below) = match text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
        Some(name) => (name, true),
        None => (text, false),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.len() > 253 {
        return Err("the name has more than 253 bytes");
    }
    if !name.split('.').all(is_label) {
        return Err("neither an address, a network, a SHA-256 nor a name");
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("neither an address, a network, a SHA-256 nor a name");
    }
    if !name.contains('.') {
        return Err("a name of one label is too wide for an indicator");
    }
    Ok(Value::Domain(name, below))
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.bytes().all(is_inner) && !label.starts_with('-')
}

/// Undoes what people do to indicators so that nobody clicks on them.
fn refanged(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        ("[.]", "."),
        ("(.)", "."),
        ("{.}", "."),
        ("[dot]", "."),
        ("(dot)", "."),
        ("[:]", ":"),
        ("[/]", "/"),
        ("hxxp", "http"),
        ("[://]", "://"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let shown = |value: Value| value.to_string();
        value(text).map(shown).map_err(|(_, why)| why)
    }

    #[test]
    fn each_kind_is_told_by_its_form() {
        let digest = "AB".repeat(32);
        for (text, wanted) in [
            ("203[.]0.113.9", "203.0.113.9"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("2001[:]db8::9", "2001:db8::9"),
            ("Evil(dot)Example", "evil.example"),
            ("evil[.]example.", "evil.example"),
            ("*.evil.example", "*.evil.example"),
            (".evil.example", "*.evil.example"),
            (digest.as_str(), &digest.to_lowercase()),
        ] {
            assert_eq!(check(text).as_deref(), Ok(wanted), "{text}");
        }
        for (text, wanted) in [
            ("hxxps://evil[.]example/a", "URL"),
            ("d41d8cd98f00b204e9800998ecf8427e", "not SHA-256"),
            ("com", "one label"),
            ("*.com", "one label"),
            ("203.0.113.9:80", "neither"),
            ("999.1.1.1", "neither"),
            ("evil example", "neither"),
            ("*.*.example", "neither"),
            ("evil.example/24", "no IP"),
            ("-a.example", "neither"),
        ] {
            let why = check(text).unwrap_err();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn comments_end_a_line_and_a_hash_inside_a_word_does_not() {
        assert_eq!(without_comment("a.example # why"), "a.example ");
        assert_eq!(without_comment("# why"), "");
        assert_eq!(without_comment("a#b"), "a#b");
        assert_eq!(without_comment("hxxp://a"), "hxxp://a");
    }
}
