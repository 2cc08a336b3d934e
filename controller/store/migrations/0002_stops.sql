-- What hosts did to processes, by the incident that led to it.
CREATE TABLE stops (
    event    INTEGER PRIMARY KEY REFERENCES events (key),
    incident INTEGER NOT NULL REFERENCES incidents (key)
) STRICT;
CREATE INDEX stops_by_incident ON stops (incident, event);
