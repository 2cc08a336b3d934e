//! What can go wrong, sorted by what the caller does about it.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

/// SQLite's primary result codes that ask for something else than giving up.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

/// Why a join token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// No such token, or it was revoked.
    #[error("it is unknown")]
    Unknown,
    /// Every use is taken.
    #[error("all its uses are taken")]
    UsedUp,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing there to open.
    #[error("there is no database at {}; `cordon-controller init` makes one", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{} exists already and is left as it is", path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// The file could not be made or reached.
    #[error("cannot use the database file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's complaint.
        #[source]
        source: std::io::Error,
    },
    /// Written by a newer program.
    #[error(
        "database {} has schema version {found}, this program knows up to {known}; run the newer program",
        path.display()
    )]
    Newer {
        /// Which database.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The schema could not be brought up to date; the database is unchanged.
    #[error("cannot bring the schema of database {} up to date", path.display())]
    Migrate {
        /// Which database.
        path: PathBuf,
        /// The migration's complaint.
        #[source]
        source: MigrateError,
    },
    /// The file is something else.
    #[error("cannot {act}: the file is not a Cordon database")]
    NotADatabase {
        /// What was tried.
        act: &'static str,
    },
    /// No room. Nothing of the change was kept; the same call works once there is room.
    #[error("cannot {act}: the disk that holds the database is full")]
    Full {
        /// What was tried.
        act: &'static str,
    },
    /// Somebody else holds the database. Nothing of the change was kept.
    #[error("cannot {act}: the database is locked by another process or overloaded")]
    Locked {
        /// What was tried.
        act: &'static str,
    },
    /// Any other refusal of the database.
    #[error("cannot {act}: the database failed")]
    Database {
        /// What was tried.
        act: &'static str,
        /// The database's complaint.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value is not what this program writes.
    #[error("the database holds a damaged {what}")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// The reader's complaint.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No such thing.
    #[error("there is no {what} {id}")]
    Unknown {
        /// Kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
    },
    /// The name is in use.
    #[error("{what} {id} exists already")]
    Taken {
        /// Kind of thing.
        what: &'static str,
        /// Which one.
        id: String,
    },
    /// The join token opens nothing.
    #[error("join token refused: {0}")]
    Token(#[from] TokenRefusal),
    /// Versions only grow.
    #[error("policy version {offered} of group {group} is not newer than version {newest}; sign it with version {}", newest + 1)]
    NotNewer {
        /// Group of the policy.
        group: String,
        /// Version that was offered.
        offered: u64,
        /// Newest version there is.
        newest: u64,
    },
    /// The audit log was changed behind the program's back.
    #[error("the audit log is broken at entry {sequence}: {why}")]
    AuditBroken {
        /// First entry that does not hold.
        sequence: u64,
        /// What does not hold.
        why: &'static str,
    },
}

impl StoreError {
    /// For `map_err`: names the act that failed.
    pub(crate) fn on(act: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::sort(act, source)
    }

    pub(crate) fn damaged(
        what: &'static str,
    ) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Damaged { what, source }
    }

    pub(crate) fn unknown(what: &'static str, id: &(impl ToString + ?Sized)) -> Self {
        Self::Unknown {
            what,
            id: id.to_string(),
        }
    }

    /// [`Self::Unknown`] when a change met no row.
    pub(crate) fn if_none(
        met: u64,
        what: &'static str,
        id: &(impl ToString + ?Sized),
    ) -> crate::Result<()> {
        if met == 0 {
            return Err(Self::unknown(what, id));
        }
        Ok(())
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Locked { .. })
    }

    fn sort(act: &'static str, source: sqlx::Error) -> Self {
        if matches!(source, sqlx::Error::PoolTimedOut) {
            return Self::Locked { act };
        }
        match primary_code(&source) {
            Some(SQLITE_FULL) => Self::Full { act },
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Locked { act },
            Some(SQLITE_NOTADB) => Self::NotADatabase { act },
            _ => Self::Database { act, source },
        }
    }
}

/// The low byte of SQLite's extended result code.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Whether a row with the same key is there already.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    database.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
