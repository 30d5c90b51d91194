-- The same as a hypertable, where TimescaleDB makes the chunks.
CREATE TABLE IF NOT EXISTS positions (
  ts          timestamptz NOT NULL,
  id          text NOT NULL,
  lat         double precision NOT NULL,
  lon         double precision NOT NULL,
  speed       real,
  heading     real,
  accuracy    real,
  altitude    real,
  battery     real,
  trip        text,
  h3          bigint NOT NULL,
  extra       jsonb,
  received_at timestamptz NOT NULL,
  k_topic     text NOT NULL,
  k_partition int NOT NULL,
  k_offset    bigint NOT NULL
);

SELECT create_hypertable('positions', 'ts',
  chunk_time_interval => interval '1 day', create_default_indexes => false, if_not_exists => true);

CREATE INDEX IF NOT EXISTS positions_id_ts ON positions (id, ts DESC);
