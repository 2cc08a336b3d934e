//! Making and opening the database file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Mutex, watch};

use crate::{Inner, Result, Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!();

const READERS: u32 = 4;
/// How long one statement waits for another process (a backup, an officer's shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a writer waits for its turn before the controller counts as overloaded.
pub(crate) const TURN_TIMEOUT: Duration = Duration::from_secs(15);
const PRIVATE: u32 = 0o600;

impl Store {
    /// Makes a new database, readable by its owner only. Never touches a file that is there.
    pub async fn create(path: &Path) -> Result<Self> {
        new_file(path)?;
        connect(path).await
    }

    /// Opens a database and brings an older schema up to date. Refuses a newer one.
    pub async fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.into() });
        }
        connect(path).await
    }
}

fn new_file(path: &Path) -> Result<()> {
    // SQLite gives its -wal and -shm files the mode of the database.
    let made: std::io::Result<File> = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Exists { path: path.into() })
        }
        Err(source) => Err(StoreError::File {
            path: path.into(),
            source,
        }),
    }
}

async fn connect(path: &Path) -> Result<Store> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit that was answered is on the disk, also when the power fails.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(TURN_TIMEOUT)
        // On a full disk SQLite ends a transaction by itself, and sqlx, which then fails to undo it,
        // believes for ever that the connection is in one. Such a connection is replaced.
        .before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        })
        .connect_with(options.clone())
        .await
        .map_err(StoreError::on("open the database"))?;
    migrate(&writer, path).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options.read_only(true))
        .await
        .map_err(StoreError::on("open the database for reading"))?;
    Ok(Store(Arc::new(Inner {
        path: path.into(),
        writer,
        lane: Mutex::new(()),
        readers,
        changes: watch::Sender::new(0),
    })))
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<()> {
    let known = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    match MIGRATIONS.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_)) => {
            let found = newest_applied(writer).await?;
            Err(StoreError::Newer {
                path: path.into(),
                found,
                known,
            })
        }
        Err(MigrateError::Execute(error)) => {
            Err(StoreError::on("bring the schema up to date")(error))
        }
        Err(source) => Err(StoreError::Migrate {
            path: path.into(),
            source,
        }),
    }
}

async fn newest_applied(writer: &SqlitePool) -> Result<i64> {
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(writer)
        .await
        .map_err(StoreError::on("read the schema version"))
}
