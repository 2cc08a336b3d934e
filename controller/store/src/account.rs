//! Who may talk to the controller: accounts, their sessions, and API tokens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;

use crate::error::is_taken;
use crate::row::{Columns as _, micros, name_of};
use crate::{Result, SecretHash, Store, StoreError};

/// What an account may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Isolate and release.
    Responder,
    /// Push policies.
    Engineer,
    /// Everything.
    Admin,
}

/// An account to be.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Its name.
    pub username: String,
    /// Argon2 string of its password.
    pub password_hash: String,
    /// Whether the password is for one sign-in only.
    pub must_change: bool,
    /// What it may do.
    pub role: Role,
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub username: String,
    /// Argon2 string of its password.
    pub password_hash: String,
    /// Whether the password is for one sign-in only.
    pub must_change: bool,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
}

impl User {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            username: row.column("username")?,
            password_hash: row.column("password_hash")?,
            must_change: row.column("must_change")?,
            role: row.named("role")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// Without the password's hash.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("username", &self.username)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A sign-in to be.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Hash of the cookie's token.
    pub hash: SecretHash,
    /// Whose.
    pub username: String,
    /// Good until then.
    pub expires_at: Timestamp,
}

/// An API token to be.
#[derive(Clone, Debug)]
pub struct NewApiToken {
    /// Hash of the token.
    pub hash: SecretHash,
    /// What it is for; unique.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Good until then, or until revoked.
    pub expires_at: Option<Timestamp>,
    /// Account that made it.
    pub created_by: String,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Good until then, or until revoked.
    pub expires_at: Option<Timestamp>,
    /// Account that made it.
    pub created_by: String,
}

impl ApiToken {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            name: row.column("name")?,
            role: row.named("role")?,
            created_at: row.time("created_at")?,
            expires_at: row.maybe_time("expires_at")?,
            created_by: row.column("created_by")?,
        })
    }
}

impl Store {
    /// Adds an account.
    pub async fn add_user(&self, user: &NewUser, now: Timestamp) -> Result<()> {
        const ACT: &str = "add an account";
        let mut work = self.begin(ACT).await?;
        sqlx::query(
            "INSERT INTO users (username, password_hash, must_change, role, created_at)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&user.username)
        .bind(&user.password_hash)
        .bind(user.must_change)
        .bind(name_of(&user.role))
        .bind(micros(now))
        .execute(&mut *work)
        .await
        .map_err(taken(ACT, "account", &user.username))?;
        self.commit(work, ACT).await
    }

    /// One account.
    pub async fn user(&self, username: &str) -> Result<Option<User>> {
        let row = sqlx::query("SELECT * FROM users WHERE username = ?")
            .bind(username)
            .fetch_optional(self.readers())
            .await
            .map_err(StoreError::on("read an account"))?;
        row.as_ref().map(User::read).transpose()
    }

    /// All accounts by name.
    pub async fn users(&self) -> Result<Vec<User>> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY username LIMIT 1000")
            .fetch_all(self.readers())
            .await
            .map_err(StoreError::on("list accounts"))?;
        rows.iter().map(User::read).collect()
    }

    /// Sets an account's password and ends all its sessions.
    pub async fn set_password(
        &self,
        username: &str,
        password_hash: &str,
        must_change: bool,
    ) -> Result<()> {
        const ACT: &str = "set a password";
        let mut work = self.begin(ACT).await?;
        let done =
            sqlx::query("UPDATE users SET password_hash = ?, must_change = ? WHERE username = ?")
                .bind(password_hash)
                .bind(must_change)
                .bind(username)
                .execute(&mut *work)
                .await
                .map_err(StoreError::on(ACT))?;
        StoreError::if_none(done.rows_affected(), "account", username)?;
        sqlx::query("DELETE FROM sessions WHERE username = ?")
            .bind(username)
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }

    /// Begins a session, and forgets those that have expired.
    pub async fn add_session(&self, session: &NewSession, now: Timestamp) -> Result<()> {
        const ACT: &str = "begin a session";
        let mut work = self.begin(ACT).await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at <= ?")
            .bind(micros(now))
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        sqlx::query(
            "INSERT INTO sessions (hash, username, created_at, expires_at) VALUES (?, ?, ?, ?)",
        )
        .bind(session.hash.bytes())
        .bind(&session.username)
        .bind(micros(now))
        .bind(micros(session.expires_at))
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }

    /// Whose session this is, when it is good.
    pub async fn session_user(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<User>> {
        let row = sqlx::query(
            "SELECT users.* FROM sessions JOIN users USING (username)
             WHERE hash = ? AND expires_at > ?",
        )
        .bind(hash.bytes())
        .bind(micros(now))
        .fetch_optional(self.readers())
        .await
        .map_err(StoreError::on("read a session"))?;
        row.as_ref().map(User::read).transpose()
    }

    /// Ends a session; one that is not there is ended already.
    pub async fn end_session(&self, hash: &SecretHash) -> Result<()> {
        const ACT: &str = "end a session";
        let mut work = self.begin(ACT).await?;
        sqlx::query("DELETE FROM sessions WHERE hash = ?")
            .bind(hash.bytes())
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }

    /// Adds an API token.
    pub async fn add_api_token(&self, token: &NewApiToken, now: Timestamp) -> Result<()> {
        const ACT: &str = "add an API token";
        let mut work = self.begin(ACT).await?;
        sqlx::query(
            "INSERT INTO api_tokens (hash, name, role, created_at, expires_at, created_by)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(token.hash.bytes())
        .bind(&token.name)
        .bind(name_of(&token.role))
        .bind(micros(now))
        .bind(token.expires_at.map(micros))
        .bind(&token.created_by)
        .execute(&mut *work)
        .await
        .map_err(taken(ACT, "API token", &token.name))?;
        self.commit(work, ACT).await
    }

    /// The token, when it is good.
    pub async fn api_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<ApiToken>> {
        let row = sqlx::query(
            "SELECT * FROM api_tokens WHERE hash = ? AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(hash.bytes())
        .bind(micros(now))
        .fetch_optional(self.readers())
        .await
        .map_err(StoreError::on("read an API token"))?;
        row.as_ref().map(ApiToken::read).transpose()
    }

    /// All API tokens by name.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>> {
        let rows = sqlx::query("SELECT * FROM api_tokens ORDER BY name LIMIT 1000")
            .fetch_all(self.readers())
            .await
            .map_err(StoreError::on("list API tokens"))?;
        rows.iter().map(ApiToken::read).collect()
    }

    /// Makes an API token unknown, by its name.
    pub async fn revoke_api_token(&self, name: &str) -> Result<()> {
        const ACT: &str = "revoke an API token";
        let mut work = self.begin(ACT).await?;
        let gone = sqlx::query("DELETE FROM api_tokens WHERE name = ?")
            .bind(name)
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        StoreError::if_none(gone.rows_affected(), "API token", name)?;
        self.commit(work, ACT).await
    }
}

fn taken(act: &'static str, what: &'static str, id: &str) -> impl Fn(sqlx::Error) -> StoreError {
    let id = id.to_owned();
    move |error| {
        if is_taken(&error) {
            StoreError::Taken {
                what,
                id: id.clone(),
            }
        } else {
            StoreError::on(act)(error)
        }
    }
}
