import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const admission = new URL("../../src/listeners/admission.ts", import.meta.url).href;
const script = `
import { Admission } from ${JSON.stringify(admission)};
console.log(new Admission(2).max);
`;

test("devices get what the log and the admin port leave of the descriptors", async () => {
  const command = `ulimit -n 4000; exec "$0" --input-type=module-typescript -e "$1"`;
  const { stdout } = await run("bash", ["-c", command, process.execPath, script]);
  expect(Number(stdout)).toBe((4000 - 1200) / 2);
});
