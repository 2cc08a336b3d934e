//! Reading columns back into types.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};

use crate::{MAX_PAGE, Result, StoreError};

/// Microseconds since 1970, the one form of time in the database.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn page(limit: u32) -> i64 {
    i64::from(limit.min(MAX_PAGE))
}

pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("stored documents have string keys only")
}

pub(crate) trait Columns {
    fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(&'r self, name: &'static str) -> Result<T>;

    fn count(&self, name: &'static str) -> Result<u64> {
        Ok(self.column::<i64>(name)?.unsigned_abs())
    }

    fn time(&self, name: &'static str) -> Result<Timestamp> {
        let micros = self.column(name)?;
        Timestamp::from_microsecond(micros).map_err(|e| StoreError::damaged(name)(e.into()))
    }

    fn maybe_time(&self, name: &'static str) -> Result<Option<Timestamp>> {
        match self.column::<Option<i64>>(name)? {
            Some(_) => self.time(name).map(Some),
            None => Ok(None),
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T> {
        let text: String = self.column(name)?;
        text.parse()
            .map_err(|e: T::Err| StoreError::damaged(name)(e.to_string().into()))
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        let bytes: Vec<u8> = self.column(name)?;
        serde_json::from_slice(&bytes).map_err(|e| StoreError::damaged(name)(e.into()))
    }

    fn maybe_json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        match self.column::<Option<Vec<u8>>>(name)? {
            Some(_) => self.json(name).map(Some),
            None => Ok(None),
        }
    }

    /// A unit variant by its serde name.
    fn named<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        let text: String = self.column(name)?;
        serde_json::from_value(text.into()).map_err(|e| StoreError::damaged(name)(e.into()))
    }

    fn bytes32(&self, name: &'static str) -> Result<[u8; 32]> {
        let bytes: Vec<u8> = self.column(name)?;
        let length = bytes.len();
        let wrong = move |_| StoreError::damaged(name)(format!("{length} bytes").into());
        bytes.try_into().map_err(wrong)
    }
}

impl Columns for SqliteRow {
    fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(&'r self, name: &'static str) -> Result<T> {
        self.try_get(name)
            .map_err(|e| StoreError::damaged(name)(e.into()))
    }
}

/// The serde name of a unit variant.
pub(crate) fn name_of(value: &impl Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}
