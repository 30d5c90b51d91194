import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const shares = new URL("../../src/model/connection-shares.ts", import.meta.url).href;

/** How many of these riders are let in when so many files are open, and whether they are short. */
const script = (files: number, ...open: number[]): string => `
import { openSync } from "node:fs";
import { Descriptors } from ${JSON.stringify(shares)};
for (let i = 0; i < ${files}; i++) openSync("/dev/null");
const descriptors = new Descriptors();
const admitted = ${JSON.stringify(open)}.map((open) => descriptors.admitRider(open));
console.log(JSON.stringify([...admitted, descriptors.areShort]));
`;

async function admitted(files: number, ...open: number[]): Promise<boolean[]> {
  const command = `ulimit -n 4000; exec "$0" --input-type=module-typescript -e "$1"`;
  const code = script(files, ...open);
  const { stdout } = await run("bash", ["-c", command, process.execPath, code]);
  return JSON.parse(stdout) as boolean[];
}

// of 4000 descriptors 1600 are kept, an eighth of the rest is 300
test("riders have an eighth, and more while nobody else needs it", async () => {
  expect(await admitted(0, 0, 299, 300, 50_000)).toEqual([true, true, true, false, false]);
  expect(await admitted(2200, 0, 299, 300)).toEqual([true, true, false, false]);
});

test("nobody is let in when descriptors are short", async () => {
  expect(await admitted(3250, 0, 299, 300)).toEqual([false, false, false, true]);
});
