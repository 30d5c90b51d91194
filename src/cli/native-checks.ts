import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Finding } from "./machine-checks.ts";

/** `load` imports the module that uses the part: what is tried here is what the gateway does. */
type Part = { name: string; load: () => Promise<string> };

const parts: Part[] = [
  {
    name: "lmdb",
    load: async () => {
      await import("../log/environment.ts");
      return packageVersion("lmdb");
    },
  },
  {
    name: "crc32",
    load: async () => {
      await import("../log/commit-value.ts");
      return packageVersion("@node-rs/crc32");
    },
  },
  {
    name: "uWebSockets.js",
    load: async () => {
      const { uwsPackage } = await import("../lib/uws.ts");
      return `${packageVersion(uwsPackage)}, ${uwsPackage}`;
    },
  },
  {
    name: "DuckDB",
    load: async () => {
      const { duckDBVersion } = await import("../sinks/duckdb.ts");
      return `${packageVersion("@duckdb/node-api")}, engine ${duckDBVersion()}`;
    },
  },
];

/** Whether each part that is machine code loads on this machine, and which variant of it. */
export async function* checkNativeParts(): AsyncGenerator<Finding> {
  for (const { name, load } of parts) {
    try {
      yield { name, state: "ok", detail: await load() };
    } catch (error) {
      yield { name, state: "failed", detail: (error as Error).message };
    }
  }
}

/** Read from its folder: not every package lets its package.json be imported. */
function packageVersion(name: string): string {
  const entry = createRequire(import.meta.url).resolve(name);
  const folder = entry.slice(0, entry.lastIndexOf(`/${name}/`) + name.length + 2);
  const { version } = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));
  return version;
}
