-- What people said of an incident, or of one detection of it. Rows are only ever added: of those that cover a
-- detection the newest counts.
CREATE TABLE analyst_verdicts (
    key       INTEGER PRIMARY KEY AUTOINCREMENT,
    incident  INTEGER NOT NULL REFERENCES incidents (key),
    -- Absent: all detections of the incident up to `through`, which is what there was to be seen.
    detection INTEGER REFERENCES detections (event),
    through   INTEGER NOT NULL,
    label     TEXT NOT NULL CHECK (label IN ('malicious', 'benign')),
    reason    TEXT NOT NULL,
    analyst   TEXT NOT NULL,
    said_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX analyst_verdicts_by_incident ON analyst_verdicts (incident, key);
