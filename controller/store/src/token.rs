//! Join tokens: how a host without an identity may ask for one.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::row::{Columns as _, micros};
use crate::{Result, SecretHash, Store, StoreError, TokenRefusal};

/// A token to be.
#[derive(Clone, Debug)]
pub struct NewJoinToken {
    /// Hash of the token; the token itself is shown once and forgotten.
    pub hash: SecretHash,
    /// Group that its hosts join.
    pub group: String,
    /// How many hosts may join, at least 1.
    pub uses: u32,
    /// Good until then.
    pub expires_at: Timestamp,
    /// Account that made it.
    pub created_by: String,
}

/// A token as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// [`SecretHash::name`] of the token.
    pub name: String,
    /// Group that its hosts join.
    pub group: String,
    /// How many hosts could join at first.
    pub uses: u32,
    /// How many hosts still can.
    pub uses_left: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Good until then.
    pub expires_at: Timestamp,
    /// Account that made it.
    pub created_by: String,
}

impl JoinToken {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            name: row.column("name")?,
            group: row.column("host_group")?,
            uses: row.column("uses")?,
            uses_left: row.column("uses_left")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            created_by: row.column("created_by")?,
        })
    }
}

impl Store {
    /// Keeps a new token and says how it is listed.
    pub async fn add_join_token(&self, token: &NewJoinToken, now: Timestamp) -> Result<JoinToken> {
        const ACT: &str = "add a join token";
        let mut work = self.begin(ACT).await?;
        let added = sqlx::query(
            "INSERT INTO join_tokens
                (hash, name, host_group, uses, uses_left, created_at, expires_at, created_by)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7) RETURNING *",
        )
        .bind(token.hash.bytes())
        .bind(token.hash.name())
        .bind(&token.group)
        .bind(token.uses)
        .bind(micros(now))
        .bind(micros(token.expires_at))
        .bind(&token.created_by)
        .fetch_one(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await?;
        JoinToken::read(&added)
    }

    /// All tokens, used-up and expired ones too, newest first.
    pub async fn join_tokens(&self) -> Result<Vec<JoinToken>> {
        let rows = sqlx::query("SELECT * FROM join_tokens ORDER BY created_at DESC LIMIT 1000")
            .fetch_all(self.readers())
            .await
            .map_err(StoreError::on("list join tokens"))?;
        rows.iter().map(JoinToken::read).collect()
    }

    /// Makes a token unknown, by its name.
    pub async fn revoke_join_token(&self, name: &str) -> Result<()> {
        const ACT: &str = "revoke a join token";
        let mut work = self.begin(ACT).await?;
        let gone = sqlx::query("DELETE FROM join_tokens WHERE name = ?")
            .bind(name)
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        StoreError::if_none(gone.rows_affected(), "join token", name)?;
        self.commit(work, ACT).await
    }
}

/// Takes one use and returns the token's group. The caller's transaction makes it atomic.
pub(crate) async fn take_use(
    work: &mut Transaction<'static, Sqlite>,
    hash: &SecretHash,
    now: Timestamp,
) -> Result<String> {
    const ACT: &str = "take a use of a join token";
    let found = sqlx::query("SELECT * FROM join_tokens WHERE hash = ?")
        .bind(hash.bytes())
        .fetch_optional(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?;
    let token = JoinToken::read(&found.ok_or(TokenRefusal::Unknown)?)?;
    if token.expires_at <= now {
        return Err(TokenRefusal::Expired.into());
    }
    if token.uses_left == 0 {
        return Err(TokenRefusal::UsedUp.into());
    }
    sqlx::query("UPDATE join_tokens SET uses_left = uses_left - 1 WHERE hash = ?")
        .bind(hash.bytes())
        .execute(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?;
    Ok(token.group)
}
