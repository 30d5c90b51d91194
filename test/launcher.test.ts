import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

/** The launcher in a small project of its own: no packages, a program that says what it got. */

const root = resolve(import.meta.dirname, "..");
const program = `
const [what, code] = process.argv.slice(2);
process.on("SIGTERM", () => process.exit(7));
console.log("ready", process.pid, process.version, JSON.stringify(process.argv.slice(2)));
if (what === "wait") setInterval(() => {}, 1000);
else process.exitCode = Number(code ?? 0);
`;

let project: string;

function makeProject(): void {
  project = mkdtempSync(join(tmpdir(), "milepost-launcher-"));
  cpSync(join(root, "bin"), join(project, "bin"), { recursive: true });
  mkdirSync(join(project, "src"));
  writeFileSync(join(project, "src/main.ts"), program);
  packages({});
}

const removeProject = (): void => rmSync(project, { recursive: true, force: true });

function packages(dependencies: Record<string, string>): void {
  const head = { name: "small", version: "1.0.0", type: "module" };
  const whole: Record<string, object> = { "": { ...head, dependencies } };
  for (const [name, version] of Object.entries(dependencies)) {
    whole[`node_modules/${name}`] = { version };
  }
  const lockfile = { ...head, lockfileVersion: 3, requires: true, packages: whole };
  writeFileSync(join(project, "package.json"), JSON.stringify({ ...head, dependencies }));
  writeFileSync(join(project, "package-lock.json"), JSON.stringify(lockfile));
}

type Run = { code: number | null; signal: string | null; stdout: string; stderr: string };
type Options = { node?: string; script?: string; cwd?: string; env?: NodeJS.ProcessEnv };

function start(args: string[], options: Options = {}): { child: ChildProcess; end: Promise<Run> } {
  const script = options.script ?? join(project, "bin/milepost");
  const child = spawn(options.node ?? process.execPath, [script, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (text) => (stdout += text));
  child.stderr.on("data", (text) => (stderr += text));
  const end = new Promise<Run>((done) => {
    child.on("close", (code, signal) => done({ code, signal, stdout, stderr }));
  });
  return { child, end };
}

const run = (args: string[], options?: Options): Promise<Run> => start(args, options).end;

/** The pid in the program's own first line. */
function ready(child: ChildProcess): Promise<number> {
  return new Promise((found, failed) => {
    child.stdout!.on("data", (text) => {
      const match = /^ready (\d+)/.exec(String(text));
      if (match) found(Number(match[1]));
    });
    child.on("close", () => failed(new Error("it ended before it was ready")));
  });
}

describe("set-up", () => {
  beforeEach(makeProject);
  afterEach(removeProject);

  test("the first start installs, a second one does no set-up work and says nothing", async () => {
    const first = await run(["say", "0"]);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('["say","0"]') });
    expect(first.stderr).toContain("npm ci");
    expect(await run(["say", "3"])).toMatchObject({ code: 3, stderr: "" });
    const lockfile = join(project, "package-lock.json");
    writeFileSync(lockfile, `${readFileSync(lockfile, "utf8")}\n`);
    expect((await run(["say"])).stderr, "another lockfile").toContain("npm ci");
  });

  test("two starts at once install once", async () => {
    const both = await Promise.all([run(["say"]), run(["say"])]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    const said = both.map(({ stderr }) => stderr).join("");
    expect(said.match(/npm ci/g)).toHaveLength(1);
    expect(readdirSync(join(project, ".runtime"))).toEqual(["types"]);
  });

  test("a lock whose owner is gone does not hold up a start", async () => {
    mkdirSync(join(project, ".runtime"));
    const gone = execFileSync(process.execPath, ["-p", "os.hostname() + ' ' + process.pid"]);
    writeFileSync(join(project, ".runtime/packages.lock"), gone.toString().trim());
    expect((await run(["say"])).code).toBe(0);
  });

  test("types are stripped once; what a power cut has left of that is made anew", async () => {
    const source = (word: string) => `const word: string = "${word}";\nconsole.log(word);\n`;
    const main = join(project, "src/main.ts");
    const says = async (word: string) =>
      expect(await run([])).toEqual({ code: 0, signal: null, stdout: `${word}\n`, stderr: "" });
    writeFileSync(main, source("one"));
    expect((await run([])).stdout).toBe("one\n");
    const folder = join(project, ".runtime/types", process.version);
    const [kept, ...others] = readdirSync(folder);
    expect(others).toEqual([]);
    const whole = readFileSync(join(folder, kept), "utf8");
    expect(whole).toContain('const word         = "one"');
    for (const damaged of ["", whole.slice(0, -1), whole.replace("one", "two"), "\0".repeat(99)]) {
      writeFileSync(join(folder, kept), damaged);
      await says("one");
      expect(readFileSync(join(folder, kept), "utf8")).toBe(whole);
    }
    writeFileSync(main, source("six"));
    await says("six");
    // nothing can be written there
    rmSync(join(project, ".runtime/types"), { recursive: true });
    writeFileSync(join(project, ".runtime/types"), "");
    await says("six");
  });

  test("through a symbolic link, from any directory", async () => {
    const link = join(project, "linked");
    symlinkSync(join(project, "bin/milepost"), link);
    expect((await run(["say"], { script: link, cwd: "/" })).code).toBe(0);
    const line = execFileSync(link, ["say", "0"], { cwd: "/" }).toString();
    expect(line).toContain('["say","0"]');
  });

  test("without a home, npm's cache is in the project", async () => {
    expect((await run(["say"], { env: { HOME: "" } })).code).toBe(0);
    expect(existsSync(join(project, ".runtime/npm-cache"))).toBe(true);
  });

  test("without npm it says so", async () => {
    const env = { PATH: project, npm_execpath: "" };
    const node = join(project, "node");
    // A Node with no npm beside it.
    cpSync(process.execPath, node);
    const { code, stderr } = await run(["say"], { node, env });
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/npm was not/),
    });
  });

  test("a registry out of reach is named, and the next start tries again", async () => {
    packages({ "left-out": "1.0.0" });
    const env = {
      npm_config_registry: "http://127.0.0.1:9/",
      npm_config_cache: join(project, "cache"),
      npm_config_fetch_retries: "0",
    };
    for (let attempt = 0; attempt < 2; attempt++) {
      const { code, stderr, stdout } = await run(["say"], { env });
      expect(stderr).toContain("the npm registry cannot be reached");
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    }
  });
});

/** A Node on PATH that is too old to run the program itself. */
const oldNode = (process.env.PATH ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "node"))
  .filter((file) => existsSync(file))
  .find((file) => {
    const [major, minor] = execFileSync(file, ["-p", "process.versions.node"])
      .toString()
      .split(".")
      .map(Number);
    return major >= 18 && (major < 22 || (major === 22 && minor < 22));
  });

describe.skipIf(oldNode === undefined)("under an older Node", () => {
  const node = oldNode!;

  afterAll(removeProject);
  beforeAll(() => {
    makeProject();
    // What the launcher would fetch: here, the Node that runs this test.
    const { platform, arch } = process;
    const source = readFileSync(join(root, "bin/launcher/runtime.js"), "utf8");
    const entry = new RegExp(`"${platform}-${arch}": \\["(.+)", "(.+)"\\]`).exec(source)!;
    const folder = join(project, `.runtime/${entry[1]}-${entry[2]}/node_modules/${entry[1]}/bin`);
    mkdirSync(folder, { recursive: true });
    symlinkSync(process.execPath, join(folder, "node"));
  });

  test("the program runs under the newer one; exit code and arguments pass", async () => {
    const { code, stdout } = await run(["say", "5"], { node });
    expect(code).toBe(5);
    expect(stdout).toContain(`${process.version} ["say","5"]`);
    expect(await run(["say", "0"], { node })).toMatchObject({ code: 0, stderr: "" });
  });

  test("SIGTERM to the launcher reaches the program", async () => {
    const { child, end } = start(["wait"], { node });
    expect(await ready(child)).not.toBe(child.pid);
    child.kill("SIGTERM");
    expect(await end).toMatchObject({ code: 7, signal: null });
  });

  test("the program's death by a signal is the launcher's", async () => {
    const { child, end } = start(["wait"], { node });
    process.kill(await ready(child), "SIGKILL");
    expect(await end).toMatchObject({ code: null, signal: "SIGKILL" });
  });

  test("kill -9 of the launcher leaves no program behind", async () => {
    const { child, end } = start(["wait"], { node });
    await ready(child);
    child.kill("SIGKILL");
    // The program has the same stdout: it is closed when both have gone.
    expect(await end).toMatchObject({ signal: "SIGKILL" });
  });
});
