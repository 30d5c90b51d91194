-- One row a ping, a partition a day (UTC). The worker makes the days; the two partitions at the ends
-- take what no clock should say, so that a fix of any time has its place.
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
) PARTITION BY RANGE (ts);

CREATE TABLE IF NOT EXISTS positions_before_2020
  PARTITION OF positions FOR VALUES FROM (MINVALUE) TO ('2020-01-01 00:00:00+00');
CREATE TABLE IF NOT EXISTS positions_after_2099
  PARTITION OF positions FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);

CREATE INDEX IF NOT EXISTS positions_id_ts ON positions (id, ts DESC);
