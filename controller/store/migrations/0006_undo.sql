-- The order that an order undoes, by its id.
ALTER TABLE orders ADD COLUMN undoes TEXT;
CREATE INDEX orders_by_undone ON orders (undoes, key) WHERE undoes IS NOT NULL;
