/**
 * Builds the generators (`devices.c`, `kafka.c`, `riders.c`) with gcc, once per change of their
 * sources.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = `${here}bin`;

export type Built = { path: string } | { missing: string };
export type GeneratorName = "devices" | "kafka" | "riders";

/** The path of the built generator, or why there is none. */
export function build(name: GeneratorName): Built {
  const source = `${here}${name}.c`;
  const path = `${folder}/${name}`;
  if (process.platform !== "linux") return { missing: "Linux (the generators use epoll)" };
  const headers = readdirSync(here).filter((file) => file.endsWith(".h"));
  if (isNewer(path, [source, ...headers.map((file) => here + file)])) return { path };
  mkdirSync(folder, { recursive: true });
  // Built aside and moved: two test files may build at once.
  const partial = `${path}.${process.pid}`;
  const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11"];
  const gcc = spawnSync("gcc", [...flags, source, "-o", partial], { encoding: "utf8" });
  if (gcc.error) return { missing: "gcc (apt-get install gcc libc6-dev)" };
  if (gcc.status !== 0) throw new Error(`gcc: ${gcc.stderr}`);
  renameSync(partial, path);
  return { path };
}

function isNewer(path: string, than: string[]): boolean {
  const built = statSync(path, { throwIfNoEntry: false });
  return built !== undefined && than.every((file) => built.mtimeMs > statSync(file).mtimeMs);
}

if (import.meta.main) {
  for (const name of ["devices", "kafka", "riders"] as const) {
    const built = build(name);
    console.log("path" in built ? built.path : `not built: ${name}, missing: ${built.missing}`);
  }
}
