//! Text to normalised pieces: what a shell line or an argument says, without the values that its author chose.
//!
//! Addresses, hosts, ports, user names, long blobs and numbers become classes; paths become their well-known
//! directories and their last components; words are lower-cased and split where their punctuation splits them;
//! options and shell operators stay as they are, because they carry meaning.

mod class;

use std::net::IpAddr;

use crate::place;
use class::{Class, Has, class_at, end_of};

/// A piece longer than this is cut.
const PIECE: usize = 24;
/// More of one word than this is not looked at: an argument may be megabytes long.
const ATOM: usize = 4096;
/// Words longer than this are looked at as blobs.
const BLOB: usize = 20;
const TLDS: [&str; 38] = [
    "ai",
    "app",
    "biz",
    "cc",
    "ch",
    "cloud",
    "cn",
    "co",
    "com",
    "corp",
    "de",
    "dev",
    "edu",
    "eu",
    "example",
    "fr",
    "gov",
    "info",
    "internal",
    "invalid",
    "io",
    "it",
    "jp",
    "lan",
    "local",
    "localdomain",
    "me",
    "net",
    "nl",
    "online",
    "org",
    "ru",
    "site",
    "test",
    "top",
    "tv",
    "uk",
    "xyz",
];

/// Calls `emit` for each piece of `text`, in order, until it answers `false`.
pub fn pieces(text: &str, emit: &mut dyn FnMut(&str) -> bool) {
    let mut writer = Writer { emit, full: false };
    let mut at = 0;
    while !writer.full {
        at = end_of(text, at, Class::Gap);
        let Some((class, _)) = class_at(text, at) else {
            break;
        };
        let end = end_of(text, at, class);
        let part = head(&text[at..end], ATOM);
        if class == Class::Atom {
            atom(part, &mut writer, 0);
        } else {
            writer.cut(part, 3);
        }
        at = end;
    }
}

fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

struct Writer<'a> {
    emit: &'a mut dyn FnMut(&str) -> bool,
    full: bool,
}

impl Writer<'_> {
    fn put(&mut self, piece: &str) {
        if !self.full && !piece.is_empty() {
            self.full = !(self.emit)(piece);
        }
    }

    fn cut(&mut self, piece: &str, most: usize) {
        if piece.len() <= most {
            return self.put(piece);
        }
        let end = piece
            .char_indices()
            .nth(most)
            .map_or(piece.len(), |(at, _)| at);
        self.put(&piece[..end]);
    }
}

/// `depth` bounds how often a value inside a value is taken apart.
fn atom(text: &str, out: &mut Writer, depth: u8) {
    if depth > 3 {
        return out.cut(text, PIECE);
    }
    let has = Has::of(text);
    if has.colon
        && has.slash
        && let Some((scheme, rest)) = text.split_once("://")
    {
        return url(scheme, rest, out);
    }
    if is_option(text) {
        return option(text, out, depth);
    }
    if has.equals
        && let Some((key, value)) = text.split_once('=')
        && !key.contains('/')
    {
        words(key, out);
        out.put("=");
        return atom(value.trim_start_matches('='), out, depth + 1);
    }
    if has.slash
        && let Some(rest) = text
            .strip_prefix("/dev/tcp/")
            .or_else(|| text.strip_prefix("/dev/udp/"))
    {
        out.put(&text[..8]);
        let (host, port) = rest.split_once('/').unwrap_or((rest, ""));
        host_class(host, out);
        return port_class(port, out);
    }
    // No address and no host with a port has neither.
    if (has.dot || has.colon) && endpoint(text, out) || !has.other_than_digits && number(text, out)
    {
        return;
    }
    if has.at
        && let Some((user, host)) = text.split_once('@')
        && !user.is_empty()
        && !host.is_empty()
        && !text.starts_with('/')
    {
        out.put(if user == "root" { "root@" } else { "user@" });
        let (host, path) = host.split_once(':').unwrap_or((host, ""));
        host_class(host, out);
        if !path.is_empty() {
            atom(path, out, depth + 1);
        }
        return;
    }
    if has.slash || text.starts_with('~') {
        return path(text, out);
    }
    if is_host(text) {
        return host_class(text, out);
    }
    words(text, out);
}

fn is_option(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next() == Some(b'-')
        && bytes
            .next()
            .is_some_and(|b| b == b'-' || b.is_ascii_alphanumeric())
}

/// `-x` and `--name` whole; values after `=` apart. Case counts: `-i` is not `-I`.
fn option(text: &str, out: &mut Writer, depth: u8) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.len() > PIECE || name[1..].contains(['/', '.', ':']) {
        out.put("-");
        return atom(name.trim_start_matches('-'), out, depth + 1);
    }
    out.put(name);
    if !value.is_empty() {
        atom(value, out, depth + 1);
    }
}

fn url(scheme: &str, rest: &str, out: &mut Writer) {
    let scheme = scheme
        .rsplit(|c: char| !c.is_alphanumeric() && c != '+')
        .next()
        .unwrap_or(scheme);
    out.put("url");
    words(scheme, out);
    let (authority, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.is_empty() {
        out.put("user@");
    }
    if !endpoint(host, out) {
        let (name, port) = host.split_once(':').unwrap_or((host, ""));
        host_class(name, out);
        port_class(port, out);
    }
    if !tail.is_empty() {
        last_components(tail, out);
    }
}

/// An address, perhaps with a port or a prefix length.
fn endpoint(text: &str, out: &mut Writer) -> bool {
    if let Some(address) = address(text) {
        out.put(place::address(address));
        return true;
    }
    if let Some((host, after)) = text.rsplit_once([':', '/'])
        && let Some(address) = address(host)
        && after.bytes().all(|b| b.is_ascii_digit())
    {
        out.put(place::address(address));
        if text.contains('/') {
            out.put("/net");
        } else {
            port_class(after, out);
        }
        return true;
    }
    if let Some((host, port)) = text.split_once(':')
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && is_host(host)
    {
        host_class(host, out);
        port_class(port, out);
        return true;
    }
    false
}

fn address(text: &str) -> Option<IpAddr> {
    let first = text.bytes().next()?;
    // What is no address is mostly known by its first byte.
    (first.is_ascii_hexdigit() || first == b':')
        .then(|| text.parse().ok())
        .flatten()
}

fn is_host(text: &str) -> bool {
    text == "localhost"
        || text
            .rsplit_once('.')
            .is_some_and(|(head, tld)| !head.is_empty() && is_tld(tld))
}

fn is_tld(text: &str) -> bool {
    let lower = |b: u8| b.to_ascii_lowercase();
    TLDS.binary_search_by(|known| known.bytes().cmp(text.bytes().map(lower)))
        .is_ok()
}

fn host_class(text: &str, out: &mut Writer) {
    if let Some(address) = address(text) {
        out.put(place::address(address));
    } else if text == "localhost" {
        out.put("@loopback");
    } else if !text.is_empty() {
        out.put("@host");
    }
}

fn port_class(text: &str, out: &mut Writer) {
    if let Ok(port) = text.parse::<u16>() {
        out.put(place::port(port));
    }
}

fn number(text: &str, out: &mut Writer) -> bool {
    // Three digits and fewer are modes, descriptors, signals and counts; longer ones are only long.
    if text.len() <= 3 {
        out.put(text);
    } else {
        out.put(
            ["#4", "#5", "#6", "#7"]
                .get(text.len() - 4)
                .copied()
                .unwrap_or("#8"),
        );
    }
    true
}

fn path(text: &str, out: &mut Writer) {
    let home = text.starts_with('~');
    let absolute = text.starts_with('/') || home;
    let mut parts = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    if !absolute {
        out.put(if text.starts_with("..") { "../" } else { "./" });
        return last_components(text, out);
    }
    let top = parts.next().unwrap_or("");
    let in_home = home || top == "home" || top == "root";
    let count = text.split('/').filter(|part| !part.is_empty()).count();
    if home {
        out.put("/home");
    } else if place::is_top(top) {
        match text.get(1..=top.len()) {
            // As it stands there, unless there is something empty before it.
            Some(written) if written == top => out.put(&text[..=top.len()]),
            _ => out.put(&format!("/{top}")),
        }
    } else {
        out.put("/?");
    }
    let second = if top == "home" {
        parts.nth(1)
    } else {
        parts.next()
    };
    if let Some(second) = second
        && count > 2
        && (matches!(
            top,
            "etc" | "var" | "dev" | "proc" | "usr" | "sys" | "run" | "lib" | "boot"
        ) || in_home && second.starts_with('.'))
    {
        let pid = second.bytes().all(|b| b.is_ascii_digit());
        let top = if in_home { "~" } else { top };
        out.cut(&format!("{top}/{}", if pid { "#" } else { second }), PIECE);
    }
    if count > 1 && !(top == "home" && count == 2) {
        last_components(text, out);
    }
}

/// The words of the last component; of the one before too when the last says nothing.
fn last_components(text: &str, out: &mut Writer) {
    let trimmed = text.trim_end_matches('/');
    words(place::base(trimmed), out);
}

fn words(text: &str, out: &mut Writer) {
    let mut taken = 0;
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() || taken >= 6 {
            continue;
        }
        taken += 1;
        if word.bytes().all(|b| b.is_ascii_digit()) {
            number(word, out);
        } else if word.len() > BLOB {
            out.put(blob(word));
        } else if word
            .bytes()
            .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
        {
            out.cut(word, PIECE);
        } else {
            out.cut(&word.to_lowercase(), PIECE);
        }
    }
}

/// Long words: what they are made of.
fn blob(word: &str) -> &'static str {
    let hex = word.bytes().all(|b| b.is_ascii_hexdigit());
    let mixed = word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    match (hex, mixed, word.len()) {
        (true, _, ..=64) => "@hex",
        (true, ..) => "@longhex",
        (_, true, ..=80) => "@blob",
        (_, true, _) => "@longblob",
        _ => "@longword",
    }
}

#[cfg(test)]
mod tests;
