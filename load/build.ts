/** Builds the device generator (`devices.c`) with gcc, once per change of its source. */
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("devices.c", import.meta.url));
const folder = fileURLToPath(new URL("bin", import.meta.url));

/** The path of the built generator, or why there is none. */
export function buildDevices(): { path: string } | { missing: string } {
  const path = `${folder}/devices`;
  if (process.platform !== "linux") return { missing: "Linux (the generator uses epoll)" };
  if (isNewer(path, source)) return { path };
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

function isNewer(path: string, than: string): boolean {
  const built = statSync(path, { throwIfNoEntry: false });
  return built !== undefined && built.mtimeMs > statSync(than).mtimeMs;
}

if (import.meta.main) {
  const built = buildDevices();
  console.log("path" in built ? built.path : `not built, missing: ${built.missing}`);
}
