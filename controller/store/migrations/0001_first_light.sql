-- Times are microseconds since 1970. Ids are UUIDs as text, so that an officer can read them.
-- Integer keys are this database's own and never leave it.

CREATE TABLE join_tokens (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    name       TEXT NOT NULL UNIQUE,
    host_group TEXT NOT NULL,
    uses       INTEGER NOT NULL CHECK (uses > 0),
    uses_left  INTEGER NOT NULL CHECK (uses_left BETWEEN 0 AND uses),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    key                INTEGER PRIMARY KEY,
    id                 TEXT NOT NULL UNIQUE,
    name               TEXT NOT NULL,
    host_group         TEXT NOT NULL,
    machine_id         TEXT NOT NULL,
    enrolled_at        INTEGER NOT NULL,
    evicted_at         INTEGER,
    last_seen_at       INTEGER,
    addresses          TEXT NOT NULL DEFAULT '[]',
    agent_version      TEXT,
    kernel             TEXT,
    os                 TEXT,
    sensor_mode        TEXT,
    model              TEXT,
    policy_version     INTEGER,
    policy_sha256      TEXT,
    -- The newest isolation report, and where in the host's record it stands.
    isolation          TEXT,
    isolation_at       INTEGER,
    isolation_boot     INTEGER,
    isolation_sequence INTEGER
) STRICT;
CREATE INDEX hosts_by_name ON hosts (name);

-- A host's keys, old ones too: what a retired key signed before its retirement still counts.
CREATE TABLE host_keys (
    host       INTEGER NOT NULL REFERENCES hosts (key),
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    added_at   INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (host, public_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    serial    TEXT PRIMARY KEY,
    host      INTEGER NOT NULL REFERENCES hosts (key),
    issued_at INTEGER NOT NULL,
    not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE boots (
    key     INTEGER PRIMARY KEY,
    host    INTEGER NOT NULL REFERENCES hosts (key),
    boot_id TEXT NOT NULL,
    UNIQUE (host, boot_id)
) STRICT;

CREATE TABLE events (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    host        INTEGER NOT NULL REFERENCES hosts (key),
    boot        INTEGER NOT NULL REFERENCES boots (key),
    sequence    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    -- The bytes that came, parsed or not.
    json        BLOB NOT NULL,
    note        TEXT,
    UNIQUE (boot, sequence)
) STRICT;
CREATE INDEX events_by_host ON events (host, key);

CREATE TABLE incidents (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    host       INTEGER NOT NULL REFERENCES hosts (key),
    tree       TEXT NOT NULL,
    status     TEXT NOT NULL,
    opened_at  INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    made_at    INTEGER NOT NULL,
    UNIQUE (host, tree)
) STRICT;
CREATE INDEX incidents_by_host ON incidents (host, key);

CREATE TABLE detections (
    event    INTEGER PRIMARY KEY REFERENCES events (key),
    incident INTEGER NOT NULL REFERENCES incidents (key),
    -- How bad: the verdict's rank, then its score.
    rank     INTEGER NOT NULL,
    score    REAL NOT NULL
) STRICT;
CREATE INDEX detections_by_incident ON detections (incident, rank DESC, score DESC);

CREATE TABLE isolations (
    event        INTEGER PRIMARY KEY REFERENCES events (key),
    host         INTEGER NOT NULL REFERENCES hosts (key),
    isolation_id TEXT NOT NULL,
    -- Absent when nothing on the host led to it.
    incident     INTEGER REFERENCES incidents (key)
) STRICT;
CREATE INDEX isolations_by_incident ON isolations (incident, event);
CREATE INDEX isolations_by_id ON isolations (host, isolation_id);

CREATE TABLE orders (
    key          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    host         INTEGER NOT NULL REFERENCES hosts (key),
    verb         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    issued_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    state        TEXT NOT NULL,
    envelope     TEXT NOT NULL
) STRICT;
CREATE INDEX orders_by_host ON orders (host, key);
CREATE INDEX orders_in_flight ON orders (state, expires_at) WHERE state IN ('queued', 'delivered');

CREATE TABLE order_steps (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    order_key   INTEGER NOT NULL REFERENCES orders (key),
    state       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    detail      TEXT,
    -- The agent's signed word, with its receipt.
    signed      INTEGER NOT NULL CHECK (signed IN (0, 1)),
    -- Whether it moved the order; a late receipt is kept and moves nothing.
    moved       INTEGER NOT NULL CHECK (moved IN (0, 1)),
    receipt     TEXT
) STRICT;
CREATE INDEX order_steps_by_order ON order_steps (order_key, key);

CREATE TABLE policies (
    host_group TEXT NOT NULL,
    version    INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    document   TEXT NOT NULL,
    envelope   TEXT NOT NULL,
    pushed_at  INTEGER NOT NULL,
    pushed_by  TEXT NOT NULL,
    PRIMARY KEY (host_group, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    username      TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    must_change   INTEGER NOT NULL CHECK (must_change IN (0, 1)),
    role          TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    username   TEXT NOT NULL REFERENCES users (username) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    name       TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    who      TEXT NOT NULL,
    what     TEXT NOT NULL,
    target   TEXT NOT NULL,
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    hash     BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;

CREATE TABLE notifications (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    incident    INTEGER NOT NULL REFERENCES incidents (key),
    channel     TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- Absent when it was sent or given up.
    next_try_at INTEGER,
    sent_at     INTEGER,
    last_error  TEXT,
    UNIQUE (incident, channel)
) STRICT;
CREATE INDEX notifications_due ON notifications (next_try_at) WHERE next_try_at IS NOT NULL;
