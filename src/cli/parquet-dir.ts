/** Where the demo's sink writes, and where `query` looks. */
export const parquetDir = "./data/parquet";
