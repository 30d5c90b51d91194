/**
 * `kill -9` at every step of a batch, with two workers that take each other's partitions. Until so
 * many were killed; `check` looks at the table now and then. `most`: rows of a batch and partition.
 */
import { type ChildProcess, spawn } from "node:child_process";

const program = new URL("./kill-child.ts", import.meta.url).pathname;
const partitions = 3;
const rows = 5_000_000;
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

type Said = "open" | "wrote";
type Killed = {
  child: ChildProcess;
  /** It has said so, or is no more. */
  said(word: Said): Promise<unknown>;
  ended: Promise<number | null>;
};

function start(url: string, seed: number, most: number): Killed {
  const args = [program, url, `${partitions}`, `${rows}`, `${seed}`, `${most}`];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  const ended = new Promise<number | null>((resolve) => {
    child.on("exit", (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  const words = { open: Promise.withResolvers<void>(), wrote: Promise.withResolvers<void>() };
  child.stdout?.on("data", (bytes) => {
    for (const word of ["open", "wrote"] as const) {
      if (String(bytes).includes(word)) words[word].resolve();
    }
  });
  const said = (word: Said): Promise<unknown> => Promise.race([words[word].promise, ended]);
  return { child, said, ended };
}

export async function killWorkers(
  url: string,
  kills: number,
  check: () => Promise<unknown>,
  most = 3000,
): Promise<void> {
  let seed = Date.now() % 100_000;
  const workers = [start(url, seed, most), start(url, seed + 1, most)];
  let killed = 0;
  while (killed < kills) {
    for (const i of workers.keys()) {
      seed += 7;
      // before its first batch, or amid a later one
      await workers[i].said(seed % 2 === 0 ? "open" : "wrote");
      await new Promise((resolve) => setTimeout(resolve, (seed * 7919) % 300));
      workers[i].child.kill("SIGKILL");
      const code = await workers[i].ended;
      if (code !== null) throw new Error(`a worker ended by itself, with ${code}`);
      killed++;
      workers[i] = start(url, seed, most);
    }
    if (killed % 10 === 0) await check();
  }
  for (const { child, ended } of workers) {
    child.kill("SIGKILL");
    await ended;
  }
}
