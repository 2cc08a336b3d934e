//! STIX 2.1 bundles: indicators whose pattern is a comparison, or several joined by OR.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::net::Net;
use super::{List, Value, plain, unhex};
use crate::problem::{ProblemKind, cut, json_why, quoted};

/// Longest pattern, and most comparisons in one.
const MOST_PATTERN: usize = 64 * 1024;
const MOST_COMPARISONS: usize = 1024;

/// A bundle as far as it is read at once: objects stay text until each one's turn, and make no tree in memory.
#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow)]
    objects: Option<&'a RawValue>,
}

/// Fields of an object. Whatever they are, one must not cost the others.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Field<'a>,
    #[serde(borrow)]
    id: Field<'a>,
    #[serde(borrow)]
    pattern: Field<'a>,
    #[serde(borrow)]
    pattern_type: Field<'a>,
    #[serde(borrow)]
    valid_from: Field<'a>,
    #[serde(borrow)]
    valid_until: Field<'a>,
    #[serde(borrow)]
    revoked: Field<'a>,
}

type Field<'a> = Option<&'a RawValue>;

pub(super) fn read(bytes: &[u8], list: &mut List<'_>) {
    let bundle: Bundle<'_> = match serde_json::from_slice(bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            let why = format!("not a STIX bundle: {error}");
            return list.problem(ProblemKind::Broken, error.line(), "", &why);
        }
    };
    if bundle.kind != "bundle" {
        let why = format!("the type is {}, wanted bundle", quoted(&bundle.kind));
        return list.problem(ProblemKind::Broken, 0, "", &why);
    }
    let Some(objects) = bundle.objects else {
        return;
    };
    let mut reader = serde_json::Deserializer::from_str(objects.get());
    if let Err(error) = reader.deserialize_seq(Objects(list)) {
        let why = format!("objects: {}", json_why(&error));
        list.problem(ProblemKind::Broken, 0, "", &why);
    }
}

/// Takes objects one at a time.
struct Objects<'a, 'b>(&'a mut List<'b>);

impl<'de> Visitor<'de> for Objects<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of STIX objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        let mut at = 0;
        while let Some(object) = objects.next_element::<&RawValue>()? {
            one(at, object, self.0);
            at += 1;
        }
        Ok(())
    }
}

fn one(at: usize, object: &RawValue, list: &mut List<'_>) {
    let why = match serde_json::from_str::<Fields<'_>>(object.get()) {
        Ok(fields) => match text(fields.kind).as_deref() {
            Some("indicator") => return indicator(at, &fields, list),
            // Malware, reports, relationships: they name no pattern.
            Some(_) => return,
            None => "its type is no text".to_owned(),
        },
        Err(error) => json_why(&error),
    };
    let why = format!("objects[{at}] is no STIX object: {why}");
    list.problem(ProblemKind::Broken, 0, "", &why);
}

fn indicator(at: usize, fields: &Fields<'_>, list: &mut List<'_>) {
    let id = match text(fields.id) {
        Some(id) => cut(&id, 128).to_owned(),
        None => format!("objects[{at}]"),
    };
    match values(fields) {
        Ok(None) => {}
        Ok(Some((values, validity))) => {
            for value in values {
                list.add(value, 0, &id, validity);
            }
        }
        Err((kind, why)) => list.problem(kind, 0, &id, &why),
    }
}

/// A field that is there and a text.
fn text(field: Field<'_>) -> Option<String> {
    serde_json::from_str(field?.get()).ok()
}

type Complaint = (ProblemKind, String);
type Validity = (Option<Timestamp>, Option<Timestamp>);

fn broken(why: impl Into<String>) -> Complaint {
    (ProblemKind::Broken, why.into())
}

fn unsupported(why: impl Into<String>) -> Complaint {
    (ProblemKind::Unsupported, why.into())
}

/// `None` for what was revoked.
fn values(fields: &Fields<'_>) -> Result<Option<(Vec<Value>, Validity)>, Complaint> {
    match fields.revoked.map(RawValue::get) {
        Some("true") => return Ok(None),
        None | Some("false") => {}
        Some(_) => return Err(broken("revoked is neither true nor false")),
    }
    if let Some(kind) = fields.pattern_type
        && text(Some(kind)).as_deref() != Some("stix")
    {
        let why = format!("pattern_type {}", quoted(kind.get()));
        return Err(unsupported(why));
    }
    let pattern = text(fields.pattern).ok_or_else(|| broken("pattern is no text"))?;
    let validity = (
        time("valid_from", fields.valid_from)?,
        time("valid_until", fields.valid_until)?,
    );
    if let (Some(from), Some(until)) = validity
        && until <= from
    {
        return Err(broken("valid_until is not after valid_from"));
    }
    Ok(Some((read_pattern(&pattern)?, validity)))
}

fn time(key: &str, field: Field<'_>) -> Result<Option<Timestamp>, Complaint> {
    let Some(value) = field else {
        return Ok(None);
    };
    let parsed = text(field).and_then(|text| text.parse().ok());
    let why = || broken(format!("{key} is {}, wanted a time", quoted(value.get())));
    parsed.map(Some).ok_or_else(why)
}

/// The values of `[a:b = 'c' OR ...] OR [...]`.
fn read_pattern(pattern: &str) -> Result<Vec<Value>, Complaint> {
    if pattern.len() > MOST_PATTERN {
        return Err(broken("the pattern has more than 64 KiB"));
    }
    let mut reader = Reader {
        rest: pattern.trim(),
    };
    let mut values = Vec::new();
    loop {
        reader.wants("[")?;
        loop {
            values.push(reader.comparison()?);
            if values.len() > MOST_COMPARISONS {
                return Err(unsupported("more than 1024 comparisons in one pattern"));
            }
            if !reader.takes_or() {
                break;
            }
        }
        reader.wants("]")?;
        if reader.rest.is_empty() {
            return Ok(values);
        }
        if !reader.takes_or() {
            return Err(reader.foreign());
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn takes(&mut self, mark: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(mark) else {
            return false;
        };
        self.rest = rest.trim_start();
        true
    }

    fn wants(&mut self, mark: &str) -> Result<(), Complaint> {
        if self.takes(mark) {
            Ok(())
        } else {
            Err(self.foreign())
        }
    }

    fn takes_or(&mut self) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_whole = self
            .rest
            .strip_prefix("OR")
            .is_some_and(|after| !after.starts_with(is_word));
        is_whole && self.takes("OR")
    }

    fn foreign(&self) -> Complaint {
        unsupported(format!(
            "the pattern goes on with {}; understood are comparisons by = joined by OR",
            quoted(cut(self.rest, 40))
        ))
    }

    fn comparison(&mut self) -> Result<Value, Complaint> {
        let path = self.path();
        let is_equal = self.takes("=");
        if !is_equal && !self.takes("ISSUBSET") {
            return Err(self.foreign());
        }
        let text = self.text()?;
        let value = match (path.as_str(), is_equal) {
            ("ipv4-addr:value" | "ipv6-addr:value", _) => {
                let net = Net::indicator(&text).map_err(broken)?;
                if net.is_v4() != path.starts_with("ipv4") {
                    return Err(broken(format!("{path} is {}", quoted(&text))));
                }
                Value::Net(net)
            }
            // Exactly this name: what means those below it says so by LIKE.
            ("domain-name:value", true) => {
                let is_exact = !text.starts_with(['*', '.']);
                let named = plain::domain(&text).map_err(broken)?;
                if !is_exact {
                    return Err(broken(format!("{} is no name", quoted(&text))));
                }
                named
            }
            ("file:hashes.SHA-256" | "file:hashes.SHA256", true) => Value::Sha256(
                unhex(&text).ok_or_else(|| broken(format!("{} is no SHA-256", quoted(&text))))?,
            ),
            _ => return Err(unsupported(format!("a comparison of {}", quoted(&path)))),
        };
        Ok(value)
    }

    /// Up to the operator, quotes around parts taken off.
    fn path(&mut self) -> String {
        let is_part = |c: char| {
            c.is_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '\'' | '"' | '[' | ']')
        };
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (path, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        path.replace(['\'', '"'], "")
    }

    fn text(&mut self) -> Result<String, Complaint> {
        let Some(inner) = self.rest.strip_prefix('\'') else {
            return Err(self.foreign());
        };
        let mut text = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                '\'' => {
                    self.rest = inner[at + 1..].trim_start();
                    return Ok(text);
                }
                other => text.push(other),
            }
        }
        Err(broken("a text in the pattern does not end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str) -> Result<Vec<String>, String> {
        let values = read_pattern(pattern).map_err(|(_, why)| why)?;
        Ok(values.iter().map(Value::to_string).collect())
    }

    #[test]
    fn comparisons_joined_by_or_are_understood() {
        let digest = "ab".repeat(32);
        let pattern = format!(
            "[ipv4-addr:value = '203.0.113.9' OR ipv4-addr:value ISSUBSET '198.51.100.0/24'] OR \
             [ domain-name:value='Evil.example' ] OR [file:hashes.'SHA-256' = '{digest}']"
        );
        let wanted = ["203.0.113.9", "198.51.100.0/24", "evil.example", &digest];
        assert_eq!(check(&pattern).unwrap(), wanted);
    }

    #[test]
    fn anything_else_says_what_it_is() {
        for (pattern, wanted) in [
            (
                "[ipv4-addr:value = '203.0.113.9' AND ipv4-addr:value = '203.0.113.8']",
                "AND",
            ),
            (
                "[ipv4-addr:value = '203.0.113.9'] FOLLOWEDBY [ipv4-addr:value = '203.0.113.8']",
                "FOLLOWEDBY",
            ),
            ("[ipv4-addr:value != '203.0.113.9']", "!="),
            ("[ipv4-addr:value = '0.0.0.0/0']", "too wide"),
            ("[ipv6-addr:value = '203.0.113.9']", "ipv6-addr"),
            ("[domain-name:value LIKE '%.example']", "LIKE"),
            ("[url:value = 'http://evil.example/']", "url:value"),
            (
                "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
                "MD5",
            ),
            ("[file:hashes.'SHA-256' = 'ab']", "no SHA-256"),
            ("[domain-name:value = 'evil.example", "does not end"),
            ("[domain-name:value = 'evil.example'", "goes on"),
            ("", "goes on"),
        ] {
            let why = check(pattern).unwrap_err();
            assert!(why.contains(wanted), "{pattern}: {why}");
        }
    }
}
