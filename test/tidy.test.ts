import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { expect, test } from "vitest";

/** The rules of the house that no linter knows; each failure names the places. */

const root = resolve(import.meta.dirname, "..");

/** Rooms on the way of a ping; one imports only from rooms of a lower rank, and from itself. */
const ranks: Record<string, number> = {
  "version.ts": 0,
  lib: 0,
  map: 0, // runs in the browser
  model: 1,
  codec: 2,
  batch: 2,
  wire: 2,
  config: 2,
  metrics: 2,
  security: 2,
  log: 3,
  partitions: 3,
  cluster: 3,
  replication: 4,
  uplink: 4,
  groups: 5,
  live: 5,
  listeners: 6,
  kafka: 6,
  riders: 6,
  sinks: 6,
  admin: 6,
  node: 7,
  cli: 8,
  "main.ts": 9,
};

/** Where an outside package may be imported; what is not here may not be imported in src/. */
const homes: Record<string, string[]> = {
  "@deck.gl/core": ["map"],
  "@deck.gl/layers": ["map"],
  "@deck.gl/mapbox": ["map"],
  "@duckdb/node-api": ["sinks"],
  "@node-rs/crc32": ["batch", "log"],
  "@platformatic/kafka": ["cli", "sinks", "uplink"],
  aedes: ["listeners"],
  centrifuge: ["map"],
  commander: ["cli"],
  "h3-js": ["partitions", "map"],
  geojson: ["map"],
  lmdb: ["log"],
  "maplibre-gl": ["map"],
  mongodb: ["sinks"],
  mysql2: ["sinks"],
  pg: ["sinks"],
  "pg-copy-streams": ["sinks"],
  "smol-toml": ["config"],
  snappyjs: ["batch"],
  "topojson-client": ["map"],
  "uws-glibc-2.27": ["lib"],
  "uws-glibc-2.38": ["lib"],
  zod: ["config"],
};

const tracked = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root })
  .toString()
  .split("\n")
  .filter(Boolean);
const isCode = (file: string): boolean => /\.[cm]?[jt]s$/.test(file);
const sources = tracked.filter((file) => file.startsWith(`src${sep}`) && file.endsWith(".ts"));

function text(file: string): string {
  try {
    return readFileSync(join(root, file), "utf8");
  } catch {
    return ""; // deleted, and not yet committed
  }
}

type Import = { file: string; target: string };

/** Static, re-exported and dynamic imports with a literal name. */
function importsOf(file: string): Import[] {
  const pattern = /(?:^(?:import|export)\b[^;"]*?from\s*|^import\s*|\bimport\()"([^"]+)"/gm;
  return [...text(file).matchAll(pattern)].map((match) => ({ file, target: match[1] }));
}

const imports = sources.flatMap(importsOf);

function roomOf(file: string): string {
  return file.split(sep)[1];
}

/** Lines of tracked text files that match, as "file:line text". */
function linesWith(files: string[], match: (line: string, file: string) => boolean): string[] {
  return files.flatMap((file) =>
    text(file)
      .split("\n")
      .flatMap((line, index) =>
        match(line, file) ? [`${file}:${index + 1} ${line.trim().slice(0, 80)}`] : [],
      ),
  );
}

test("every room has a rank, and imports come from lower ones", () => {
  expect([...new Set(sources.map(roomOf))].filter((room) => !(room in ranks))).toEqual([]);
  const upward = imports.filter(({ file, target }) => {
    if (!target.startsWith(".")) return false;
    const found = relative(root, resolve(root, dirname(file), target));
    const from = roomOf(file);
    // the simulated fleet is a program of its own that the command line starts
    if (!found.startsWith(`src${sep}`)) return !(from === "cli" && found.startsWith("devices"));
    const to = roomOf(found);
    return from !== to && ranks[to] >= ranks[from];
  });
  expect(upward.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test("an outside package is imported in its own rooms only", () => {
  const strangers = imports.filter(({ file, target }) => {
    if (target.startsWith(".") || target.startsWith("node:")) return false;
    const name = target
      .split("/")
      .slice(0, target.startsWith("@") ? 2 : 1)
      .join("/");
    return !homes[name]?.includes(roomOf(file));
  });
  expect(strangers.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test("relative imports say .ts", () => {
  const bare = imports.filter(({ target }) => target.startsWith(".") && !target.endsWith(".ts"));
  expect(bare).toEqual([]);
});

test("lines have at most 100 columns", () => {
  const bins = ["milepost", "milepost-test", "milepost-bench", "milepost-example"];
  const programs = [...bins.map((bin) => join("bin", bin)), ".ci/run"];
  const code = [...tracked.filter(isCode), ...programs];
  expect(linesWith(code, (line) => line.length > 100)).toEqual([]);
});

test("a file of src/ has at most 350 lines", () => {
  const long = sources
    .map((file) => ({ file, lines: text(file).split("\n").length - 1 }))
    .filter(({ lines }) => lines > 350);
  expect(long).toEqual([]);
});

test("no utils, and no barrel files", () => {
  const vague = /^(utils?|helpers?|misc|common|index)\.ts$|[/\\](utils?|helpers?|misc|common)[/\\]/;
  const named = tracked.filter(
    (file) => isCode(file) && (vague.test(basename(file)) || vague.test(file)),
  );
  expect(named).toEqual([]);
  const barrels = sources.filter((file) => {
    const code = text(file).replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
    const rest = code.replace(/^(?:import|export)\b[^;"]*?from\s*"[^"]+";/gm, "").trim();
    return rest === "" && /^export\b/m.test(code);
  });
  expect(barrels).toEqual([]);
});

test("nothing points outside the project, or into somebody's machine", () => {
  const machine = /(?<![\w.:])\/(?:home|Users|root|work|workspace)\/\w/;
  const upward = /(?<![\w/.])(?:\.\.\/)+[\w.-]+/g;
  const read = tracked.filter((file) => /\.([cm]?[jt]s|md|json|toml|ya?ml|sh|c)$/.test(file));
  const found = linesWith(read, (line, file) => {
    if (machine.test(line) || line.includes(root)) return true;
    return (line.match(upward) ?? []).some((path) =>
      relative(root, resolve(root, dirname(file), path)).startsWith(".."),
    );
  });
  expect(found).toEqual([]);
});

test("packages have exact versions, from no registry in particular", () => {
  const manifest = JSON.parse(text("package.json"));
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  const exact = /^(npm:(@[\w-]+\/)?[\w-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/;
  expect(versions.filter(([, version]) => !exact.test(String(version)))).toEqual([]);
  expect(text("package-lock.json")).not.toContain('"resolved"');
});

test("the lockfile has the native packages of every platform", () => {
  // `npm ci` refuses one that lacks them, and npm leaves out what its registry did not answer for.
  const { packages } = JSON.parse(text("package-lock.json")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const absent = Object.entries(packages).flatMap(([path, { optionalDependencies }]) =>
    Object.keys(optionalDependencies ?? {}).filter(
      (name) =>
        !(`${path}/node_modules/${name}` in packages) && !(`node_modules/${name}` in packages),
    ),
  );
  expect(absent).toEqual([]);
});
