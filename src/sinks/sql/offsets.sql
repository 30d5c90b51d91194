-- Where each sink goes on. A worker that takes a partition raises its epoch; a transaction of one
-- that had it before finds no row and is rolled back.
CREATE TABLE IF NOT EXISTS milepost_offsets (
  sink        text NOT NULL,
  topic       text NOT NULL,
  topic_id    uuid NOT NULL,
  partition   int NOT NULL,
  next_offset bigint NOT NULL,
  epoch       int NOT NULL,
  PRIMARY KEY (sink, topic_id, partition)
);

-- Dead letters that were written after all: each once, by its own place and by the record's.
CREATE TABLE IF NOT EXISTS milepost_replayed (
  dlq_id      uuid NOT NULL,
  dlq_partition int NOT NULL,
  dlq_offset  bigint NOT NULL,
  topic       text NOT NULL,
  partition   int NOT NULL,
  "offset"    bigint NOT NULL,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (dlq_id, dlq_partition, dlq_offset),
  UNIQUE (topic, partition, "offset", received_at)
);
