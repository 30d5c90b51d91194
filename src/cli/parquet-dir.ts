/** Where the demo's sink writes, and where `query` looks. */
export const parquetFolder = "parquet";
export const parquetDir = `./data/${parquetFolder}`;
