-- Which hosts may isolate themselves by the controller's word, where their policy caps how many of a group are isolated at
-- one time. A row goes when the host reports what became of it, and counts for nothing once it is over.
CREATE TABLE isolation_places (
    host         INTEGER PRIMARY KEY REFERENCES hosts (key),
    isolation_id TEXT NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
