-- What hosts proposed, and how that ended. Either may come first.
CREATE TABLE proposals (
    host       INTEGER NOT NULL REFERENCES hosts (key),
    id         TEXT NOT NULL,
    incident   INTEGER NOT NULL REFERENCES incidents (key),
    -- The first detection that told of it, and until when it waits.
    detection  INTEGER REFERENCES events (key),
    expires_at INTEGER,
    ended      INTEGER REFERENCES events (key),
    PRIMARY KEY (host, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX proposals_by_incident ON proposals (incident);
CREATE INDEX proposals_that_wait ON proposals (expires_at) WHERE ended IS NULL;

-- How often a card was sent again, because a host proposed something after the first.
ALTER TABLE notifications ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
