-- Where each sink goes on. A worker that takes a partition raises its epoch; a transaction of one
-- that had it before finds no row and is rolled back.
CREATE TABLE IF NOT EXISTS milepost_offsets (
  sink        varchar(255) NOT NULL,
  topic       varchar(249) NOT NULL,
  topic_id    char(36) NOT NULL,
  `partition` int NOT NULL,
  next_offset bigint NOT NULL,
  epoch       int NOT NULL,
  PRIMARY KEY (sink, topic_id, `partition`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Dead letters that were written after all: each once, by its own place and by the record's.
CREATE TABLE IF NOT EXISTS milepost_replayed (
  dlq_id        char(36) NOT NULL,
  dlq_partition int NOT NULL,
  dlq_offset    bigint NOT NULL,
  topic         varchar(249) NOT NULL,
  `partition`   int NOT NULL,
  `offset`      bigint NOT NULL,
  received_at   datetime(3) NOT NULL,
  PRIMARY KEY (dlq_id, dlq_partition, dlq_offset),
  UNIQUE (topic, `partition`, `offset`, received_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
