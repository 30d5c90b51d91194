/** The machine a result was measured on: without it a figure says nothing. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { resolve } from "node:path";
import { mosquittoVersion } from "./servers.ts";

export type Machine = {
  cores: number;
  cpu: string;
  memoryGB: number;
  kernel: string;
  node: string;
  fileSystem: string;
  mosquitto: string | null;
};

export function machine(dir: string): Machine {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? "unknown",
    memoryGB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(dir),
    mosquitto: mosquittoVersion(),
  };
}

/** The type of the file system that holds `dir`: the longest mount point that is a prefix of it. */
function fileSystemOf(dir: string): string {
  let best = "";
  let type = "unknown";
  const path = `${resolve(dir)}/`;
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const [, mount, kind] = line.split(" ");
    if (mount === undefined || kind === undefined) continue;
    const prefix = mount.endsWith("/") ? mount : `${mount}/`;
    if (path.startsWith(prefix) && prefix.length > best.length) {
      best = prefix;
      type = kind;
    }
  }
  return type;
}

/** Files one process may open; a row wants its sockets and a reserve. */
export function openFilesMax(): number {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const hard = /Max open files\s+\S+\s+(\S+)/.exec(limits)?.[1];
  return hard === "unlimited" || hard === undefined ? Infinity : Number(hard);
}
