//! Values of JSON that producers write in more than one way.

use std::fmt;

use serde::de::IgnoredAny;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A text; a number or a truth value is read as its text, anything else as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub String);

/// A whole number, or its text in decimal or, after `0x`, hexadecimal digits; anything else is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Number(pub Option<i64>);

/// An object, with nothing in it where it is missing or null.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maybe<T>(pub T);

impl<T> std::ops::Deref for Maybe<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Option::<T>::deserialize(deserializer)?;
        Ok(Self(found.unwrap_or_default()))
    }
}

impl Text {
    /// Nothing where the text is empty.
    pub(crate) fn some(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl Number {
    pub(crate) fn of(text: &str) -> Self {
        let text = text.trim();
        Self(match text.strip_prefix("0x") {
            // Registers have all 64 bits.
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
            None => text.parse().ok(),
        })
    }

    /// As a pid, port or uid.
    pub(crate) fn small<T: TryFrom<i64>>(self) -> Option<T> {
        T::try_from(self.0?).ok()
    }
}

/// What a value turned out to be.
enum Found {
    Text(String),
    Whole(i64),
    /// Whole, but greater than the other.
    Large(u64),
    Real(f64),
    Truth(bool),
    Other,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(Any)? {
            Found::Text(text) => text,
            Found::Whole(number) => number.to_string(),
            Found::Large(number) => number.to_string(),
            Found::Real(number) => number.to_string(),
            Found::Truth(truth) => truth.to_string(),
            Found::Other => String::new(),
        }))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Any)? {
            Found::Text(text) => Self::of(&text),
            Found::Whole(number) => Self(Some(number)),
            Found::Large(number) => Self(Some(number.cast_signed())),
            Found::Real(number) => Self(Some(number as i64)),
            Found::Truth(_) | Found::Other => Self(None),
        })
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Found, E> {
        Ok(Found::Text(text))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Found, E> {
        Ok(Found::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(i64::try_from(number).map_or(Found::Large(number), Found::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Found, E> {
        Ok(Found::Real(number))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Found, E> {
        Ok(Found::Truth(truth))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Found, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }
}
