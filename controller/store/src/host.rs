//! Enrolled hosts, their keys, and what they say of themselves.

use cordon_proto::id::HostId;
use cordon_proto::record::IsolationReport;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::row::{Columns as _, json, micros};
use crate::token::take_use;
use crate::{Result, SecretHash, Store, StoreError};

/// A host's id and name: how other rows speak of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRef {
    /// Its identity.
    pub id: HostId,
    /// Its name; endpoint text.
    pub name: String,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Serial number, hex.
    pub serial: String,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// A host to be.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// Its identity.
    pub id: HostId,
    /// Hostname as it says; endpoint text.
    pub name: String,
    /// `/etc/machine-id` as it says; endpoint text.
    pub machine_id: String,
    /// Raw Ed25519 public key that its certificate holds.
    pub public_key: [u8; 32],
    /// Its first certificate.
    pub certificate: CertificateFacts,
}

/// What a host says of itself when it connects; endpoint text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloFacts {
    /// Hostname.
    pub name: String,
    /// Addresses, without loopback.
    pub addresses: Vec<String>,
    /// Version of the agent.
    pub agent_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Operating system.
    pub os: String,
    /// `ebpf` or `proc`.
    pub sensor_mode: String,
    /// Model in use.
    pub model: String,
    /// Policy in force; 0 when none.
    pub policy_version: u64,
    /// SHA-256 of the policy's envelope, hex; empty when none.
    pub policy_sha256: String,
}

/// An enrolled host. Whether it is online is not here: that is its live session's to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its identity.
    pub id: HostId,
    /// Its name; endpoint text.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its machine id; endpoint text.
    pub machine_id: String,
    /// When it joined.
    pub enrolled_at: Timestamp,
    /// When it was turned out; it must enrol again.
    pub evicted_at: Option<Timestamp>,
    /// Last sign of life that was flushed.
    pub last_seen_at: Option<Timestamp>,
    /// Addresses; endpoint text.
    pub addresses: Vec<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// `ebpf` or `proc`.
    pub sensor_mode: Option<String>,
    /// Model in use.
    pub model: Option<String>,
    /// Policy in force on the host, as it last said; 0 when none.
    pub policy_version: Option<u64>,
    /// SHA-256 of that policy's envelope, hex.
    pub policy_sha256: Option<String>,
    /// The newest isolation report, whatever its state; none when there was never one.
    pub isolation: Option<IsolationReport>,
    /// Host's clock of that report.
    pub isolation_at: Option<Timestamp>,
}

impl Host {
    /// Id and name.
    pub fn reference(&self) -> HostRef {
        HostRef {
            id: self.id,
            name: self.name.clone(),
        }
    }

    fn read(row: &SqliteRow) -> Result<Self> {
        let policy_version: Option<i64> = row.column("policy_version")?;
        Ok(Self {
            id: row.parsed("id")?,
            name: row.column("name")?,
            group: row.column("host_group")?,
            machine_id: row.column("machine_id")?,
            enrolled_at: row.time("enrolled_at")?,
            evicted_at: row.maybe_time("evicted_at")?,
            last_seen_at: row.maybe_time("last_seen_at")?,
            addresses: row.json("addresses")?,
            agent_version: row.column("agent_version")?,
            kernel: row.column("kernel")?,
            os: row.column("os")?,
            sensor_mode: row.column("sensor_mode")?,
            model: row.column("model")?,
            policy_version: policy_version.map(i64::unsigned_abs),
            policy_sha256: row.column("policy_sha256")?,
            isolation: row.maybe_json("isolation")?,
            isolation_at: row.maybe_time("isolation_at")?,
        })
    }
}

/// One of a host's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// Raw Ed25519 public key.
    pub public_key: [u8; 32],
    /// When a certificate was first issued for it.
    pub added_at: Timestamp,
    /// When the host was first heard with a newer key; from then on it opens no session.
    pub retired_at: Option<Timestamp>,
}

impl Store {
    /// Takes one use of a join token and adds the host to the token's group: both or neither.
    pub async fn enroll(&self, token: &SecretHash, host: &NewHost, now: Timestamp) -> Result<Host> {
        const ACT: &str = "enrol a host";
        let mut work = self.begin(ACT).await?;
        let group = take_use(&mut work, token, now).await?;
        let added = sqlx::query(
            "INSERT INTO hosts (id, name, host_group, machine_id, enrolled_at)
             VALUES (?, ?, ?, ?, ?) RETURNING *",
        )
        .bind(host.id.to_string())
        .bind(&host.name)
        .bind(group)
        .bind(&host.machine_id)
        .bind(micros(now))
        .fetch_one(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        let key = added.column("key")?;
        add_key(&mut work, key, &host.public_key, &host.certificate, now).await?;
        self.commit(work, ACT).await?;
        Host::read(&added)
    }

    /// One host.
    pub async fn host(&self, id: HostId) -> Result<Option<Host>> {
        let row = sqlx::query("SELECT * FROM hosts WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(StoreError::on("read a host"))?;
        row.as_ref().map(Host::read).transpose()
    }

    /// All hosts by name, evicted ones too.
    pub async fn hosts(&self) -> Result<Vec<Host>> {
        let rows = sqlx::query("SELECT * FROM hosts ORDER BY name, key")
            .fetch_all(self.readers())
            .await
            .map_err(StoreError::on("list hosts"))?;
        rows.iter().map(Host::read).collect()
    }

    /// Hosts with this name or id that were not evicted; two may share a name.
    pub async fn find_host(&self, name_or_id: &str) -> Result<Vec<Host>> {
        let rows = sqlx::query(
            "SELECT * FROM hosts WHERE (name = ?1 OR id = ?1) AND evicted_at IS NULL LIMIT 10",
        )
        .bind(name_or_id)
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("find a host"))?;
        rows.iter().map(Host::read).collect()
    }

    /// Turns a host out: no session and no renewal from now on.
    pub async fn evict_host(&self, id: HostId, now: Timestamp) -> Result<()> {
        const ACT: &str = "evict a host";
        let mut work = self.begin(ACT).await?;
        let done = sqlx::query("UPDATE hosts SET evicted_at = ? WHERE id = ?")
            .bind(micros(now))
            .bind(id.to_string())
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        StoreError::if_none(done.rows_affected(), "host", &id)?;
        self.commit(work, ACT).await
    }

    /// Keeps what a host says of itself.
    pub async fn note_hello(&self, id: HostId, hello: &HelloFacts, now: Timestamp) -> Result<()> {
        const ACT: &str = "note a hello";
        let mut work = self.begin(ACT).await?;
        let done = sqlx::query(
            "UPDATE hosts SET name = ?, addresses = ?, agent_version = ?, kernel = ?, os = ?,
                sensor_mode = ?, model = ?, policy_version = ?, policy_sha256 = ?, last_seen_at = ?
             WHERE id = ?",
        )
        .bind(&hello.name)
        .bind(json(&hello.addresses))
        .bind(&hello.agent_version)
        .bind(&hello.kernel)
        .bind(&hello.os)
        .bind(&hello.sensor_mode)
        .bind(&hello.model)
        .bind(hello.policy_version.cast_signed())
        .bind(&hello.policy_sha256)
        .bind(micros(now))
        .bind(id.to_string())
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        StoreError::if_none(done.rows_affected(), "host", &id)?;
        self.commit(work, ACT).await
    }

    /// Flushes signs of life, in one transaction. Never moves one back.
    pub async fn note_seen(&self, seen: &[(HostId, Timestamp)]) -> Result<()> {
        const ACT: &str = "note signs of life";
        if seen.is_empty() {
            return Ok(());
        }
        let mut work = self.begin(ACT).await?;
        for (id, at) in seen {
            sqlx::query(
                "UPDATE hosts SET last_seen_at = max(coalesce(last_seen_at, 0), ?) WHERE id = ?",
            )
            .bind(micros(*at))
            .bind(id.to_string())
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        }
        self.commit(work, ACT).await
    }

    /// Keeps a renewed certificate, with its key when that is new.
    pub async fn add_certificate(
        &self,
        id: HostId,
        public_key: &[u8; 32],
        certificate: &CertificateFacts,
        now: Timestamp,
    ) -> Result<()> {
        const ACT: &str = "keep a certificate";
        let mut work = self.begin(ACT).await?;
        let host = host_key(&mut work, id, ACT).await?;
        add_key(&mut work, host, public_key, certificate, now).await?;
        self.commit(work, ACT).await
    }

    /// A host shows up with a key. Answers all its keys when the key opens a session, else nothing.
    ///
    /// Using a key retires those added before it: from then on the renewal has surely arrived.
    pub async fn present_key(
        &self,
        id: HostId,
        public_key: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Vec<HostKey>>> {
        let keys = self.host_keys(id).await?;
        let Some(used) = keys.iter().find(|key| key.public_key == *public_key) else {
            return Ok(None);
        };
        if used.retired_at.is_some() {
            return Ok(None);
        }
        let older = |key: &HostKey| key.added_at < used.added_at && key.retired_at.is_none();
        if keys.iter().any(older) {
            self.retire_keys(id, used.added_at, now).await?;
        }
        Ok(Some(keys))
    }

    /// All keys that a host ever had.
    async fn host_keys(&self, id: HostId) -> Result<Vec<HostKey>> {
        let rows = sqlx::query(
            "SELECT host_keys.* FROM host_keys JOIN hosts ON hosts.key = host WHERE hosts.id = ?",
        )
        .bind(id.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("read a host's keys"))?;
        let read = |row: &SqliteRow| {
            Ok(HostKey {
                public_key: row.bytes32("public_key")?,
                added_at: row.time("added_at")?,
                retired_at: row.maybe_time("retired_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn retire_keys(&self, id: HostId, before: Timestamp, now: Timestamp) -> Result<()> {
        const ACT: &str = "retire a host's old key";
        let mut work = self.begin(ACT).await?;
        let host = host_key(&mut work, id, ACT).await?;
        sqlx::query(
            "UPDATE host_keys SET retired_at = ?
             WHERE host = ? AND added_at < ? AND retired_at IS NULL",
        )
        .bind(micros(now))
        .bind(host)
        .bind(micros(before))
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }
}

/// The database's own key of a host.
pub(crate) async fn host_key(
    work: &mut Transaction<'static, Sqlite>,
    id: HostId,
    act: &'static str,
) -> Result<i64> {
    let found = sqlx::query_scalar("SELECT key FROM hosts WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(&mut **work)
        .await
        .map_err(StoreError::on(act))?;
    found.ok_or_else(|| StoreError::unknown("host", &id))
}

async fn add_key(
    work: &mut Transaction<'static, Sqlite>,
    host: i64,
    public_key: &[u8; 32],
    certificate: &CertificateFacts,
    now: Timestamp,
) -> Result<()> {
    const ACT: &str = "keep a host's key";
    sqlx::query(
        "INSERT INTO host_keys (host, public_key, added_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(host)
    .bind(public_key.as_slice())
    .bind(micros(now))
    .execute(&mut **work)
    .await
    .map_err(StoreError::on(ACT))?;
    sqlx::query(
        "INSERT INTO certificates (serial, host, issued_at, not_after) VALUES (?, ?, ?, ?)",
    )
    .bind(&certificate.serial)
    .bind(host)
    .bind(micros(now))
    .bind(micros(certificate.not_after))
    .execute(&mut **work)
    .await
    .map_err(StoreError::on(ACT))?;
    Ok(())
}

/// Reads the columns `host_id` and `host_name` of a joined row.
pub(crate) fn reference(row: &SqliteRow) -> Result<HostRef> {
    Ok(HostRef {
        id: row.parsed("host_id")?,
        name: row.column("host_name")?,
    })
}
