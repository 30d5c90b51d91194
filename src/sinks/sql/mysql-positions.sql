-- One row a ping. Times are UTC. Texts are told apart by their bytes.
CREATE TABLE IF NOT EXISTS positions (
  ts          datetime(3) NOT NULL,
  id          varchar(128) NOT NULL,
  lat         double NOT NULL,
  lon         double NOT NULL,
  speed       float,
  heading     float,
  accuracy    float,
  altitude    float,
  battery     float,
  trip        text,
  h3          bigint unsigned NOT NULL,
  extra       json,
  received_at datetime(3) NOT NULL,
  k_topic     varchar(249) NOT NULL,
  k_partition int NOT NULL,
  k_offset    bigint NOT NULL,
  INDEX positions_id_ts (id, ts)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
