/** Limits of sinks; part of `limits`. */
export const sinkLimits = {
  /** One answer, and so at most one transaction: 25 000 rows or so. One more is read ahead. */
  sinkFetchBytes: 4 * 1024 * 1024,
  sinkPartitionBytes: 512 * 1024,
  /** An answer waits for so much, or so long: rows are in the database a second later. */
  sinkGatherBytes: 2 * 1024 * 1024,
  sinkGatherMs: 1000,
  /** Of one transaction, whatever compression made of the answer. */
  sinkBatchRowsMax: 100_000,
  /** What is given to the database at once. */
  copyChunkBytes: 64 * 1024,
  /** Documents of one insert: a megabyte at most. */
  documentsAtOnce: 1000,
  /** What a MySQL server must take as one statement: a chunk, and the longest row behind it. */
  sqlPacketBytesMin: 128 * 1024,
  /** Between two tries, from the first to the last; each a random half shorter. */
  sinkRetryMsMin: 200,
  sinkRetryMsMax: 10_000,
  /** From SIGTERM until a transaction that hangs is given up. */
  sinkDrainMsMax: 20_000,
  /** A database whose machine is gone is noticed so long after its last answer, and 10 s. */
  sinkKeepAliveMs: 30_000,
  /** A transaction whose worker stands still is ended by the server, and its locks with it. */
  sinkIdleInTransactionMs: 10_000,
  /** A dead letter's value beyond this is cut: its topic takes a megabyte with everything. */
  deadLetterValueBytesMax: 512 * 1024,
  /** The same of its key, which is a driver's of 128 bytes unless something else wrote it. */
  deadLetterKeyBytesMax: 64 * 1024,
  /** Drivers of which a sink that samples knows the last row; the others are looked up again. */
  sampledDriversMax: 300_000,
  /** Of one batch into another cluster: what Kafka takes by default, and a topic of ours too. */
  mirrorBatchBytes: 1_000_000,
  /** How far behind its end a target is looked through for a record that came from here. */
  mirrorLookBackMax: 65_536,
  /** A cluster answers a Produce so soon, or says that its replicas did not. */
  produceMsMax: 30_000,
  /** Cells of resolution 9 whose sides are kept, some 500 B each: a large city. */
  sinkCellsMax: 40_000,
  /** Rows of a Parquet file while they wait in memory, some 90 B each: 90 000 or so. */
  parquetFileBytes: 8 * 1024 * 1024,
  /** Of all files under way: beyond it nothing is read until the largest is written. */
  parquetHeldBytesMax: 48 * 1024 * 1024,
  /** Of a file that is looked into; one of ours has some kilobytes. */
  parquetFooterBytesMax: 256 * 1024,
  /** Of `milepost query`; beyond it DuckDB spills to a temporary folder. */
  queryMemoryBytesMax: 1024 * 1024 * 1024,
  /** Left by a worker on another machine, which cannot be asked whether it lives. */
  parquetTemporaryMsMax: 3_600_000,
} as const;
