//! What a story says, in eight bytes: for questions that come again word for word.
//!
//! Reading a story as the model does costs tens of microseconds; most stories of a busy host were judged a moment
//! ago, with another pid. Whatever fields a story has or will have, serde names them here, so none is
//! forgotten; only the id, which says nothing, is left out. The hash has a random key: an attacker writes the
//! text, and must not be able to make two stories that are taken for one.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use cordon_behavior::story::Story;
use serde::ser::{self, Serialize};

/// Two stories with the same fingerprint of one [`Fingerprints`] say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// Takes fingerprints.
#[derive(Debug, Default)]
pub struct Fingerprints {
    key: RandomState,
    bytes: Vec<u8>,
}

/// More room than that is not kept for the next story.
const KEPT_BYTES: usize = 64 * 1024;
/// Bytes that no UTF-8 text has: what is between and around texts is never part of one.
const END_OF_TEXT: u8 = 0xff;
const OPEN: u8 = 0xfe;
const CLOSE: u8 = 0xfd;
const NUMBER: u8 = 0xfc;
const NONE: u8 = 0xfb;
const SOME: u8 = 0xfa;

impl Fingerprints {
    /// Of one story.
    pub fn of(&mut self, story: &Story) -> Fingerprint {
        let mut writer = Writer {
            bytes: &mut self.bytes,
            depth: 0,
        };
        let written = story.serialize(&mut writer);
        debug_assert!(
            written.is_ok(),
            "a story has nothing that cannot be written"
        );
        let hash = self.key.hash_one(&self.bytes[..]);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        Fingerprint(hash)
    }
}

/// Every value as bytes that can be read in one way only.
struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    depth: usize,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(END_OF_TEXT);
    }

    fn number(&mut self, bits: u64) {
        self.bytes.push(NUMBER);
        self.bytes.extend_from_slice(&bits.to_le_bytes());
    }

    fn open(&mut self) {
        self.bytes.push(OPEN);
        self.depth += 1;
    }

    fn close(&mut self) {
        self.bytes.push(CLOSE);
        self.depth -= 1;
    }
}

/// Nothing fails; serde wants a type for it.
#[derive(Debug)]
struct Never(String);

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Never {}

impl ser::Error for Never {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = Result<(), Never>;

macro_rules! numbers {
    ($($method:ident $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Written {
            self.number(value as u64);
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_bool bool, serialize_char char,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.number(value.to_bits());
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Written {
        self.text(text);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Written {
        self.bytes.push(NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        self.bytes.push(SOME);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Written {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Written {
        self.number(index.into());
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Never> {
        self.open();
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Never> {
        self.open();
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        self.open();
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Never> {
        self.number(index.into());
        self.open();
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Never> {
        self.open();
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        self.open();
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Never> {
        self.number(index.into());
        self.open();
        Ok(self)
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident,)*) => {
        $(impl ser::$trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Never;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                value.serialize(&mut **self)
            }

            fn end(self) -> Written {
                self.close();
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! fields {
    ($($trait:ident,)*) => {
        $(impl ser::$trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Never;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Written {
                // The story's own id; an id further down would say something.
                if self.depth == 1 && name == "id" {
                    return Ok(());
                }
                self.text(name);
                value.serialize(&mut **self)
            }

            fn end(self) -> Written {
                self.close();
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct, SerializeStructVariant, }

impl ser::SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    fn end(self) -> Written {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(json: &str) -> Story {
        Story::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_id_says_nothing_and_every_other_word_does() {
        let mut fingerprints = Fingerprints::default();
        let base = r#"{"id":"1@2","process":{"exe":"/bin/ls","argv":["ls","-l"],"uid":0},
            "ancestors":[{"exe":"/bin/sh","argv":["sh"]}],
            "connections":[{"direction":"out","protocol":"tcp","address":"192.0.2.1","port":80}]}"#;
        let own = fingerprints.of(&story(base));
        assert_eq!(fingerprints.of(&story(&base.replace("1@2", "3@4"))), own);
        for (from, to) in [
            ("-l", "-a"),
            (r#""ls","-l""#, r#""ls-l""#),
            (r#""ls","-l""#, r#""l","s-l""#),
            (r#""uid":0"#, r#""uid":1"#),
            (r#","uid":0"#, ""),
            (r#""uid":0"#, r#""euid":0"#),
            ("192.0.2.1", "192.0.2.2"),
            (":80", ":81"),
            ("/bin/sh", "/bin/bash"),
            ("ancestors", "children"),
        ] {
            let other = base.replace(from, to);
            assert_ne!(other, base);
            assert_ne!(fingerprints.of(&story(&other)), own, "{from} -> {to}");
        }
    }

    #[test]
    fn another_key_gives_another_fingerprint() {
        let story = story(r#"{"id":"x","command":"ls"}"#);
        let (mut one, mut other) = (Fingerprints::default(), Fingerprints::default());
        assert_ne!(one.of(&story), other.of(&story));
    }
}
