-- The newest order to each host about an isolated one: blocked or not, and how far that got, is in the order.
CREATE TABLE peer_orders (
    host      INTEGER NOT NULL REFERENCES hosts (key),
    peer      INTEGER NOT NULL REFERENCES hosts (key),
    order_key INTEGER NOT NULL REFERENCES orders (key),
    PRIMARY KEY (host, peer)
) STRICT, WITHOUT ROWID;
