import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const admission = new URL("../../src/listeners/admission.ts", import.meta.url).href;
const script = `
import { Admission } from ${JSON.stringify(admission)};
console.log(new Admission(2).max);
`;

test("devices get what the log, the admin port, Kafka and riders leave", async () => {
  const command = `ulimit -n 4000; exec "$0" --input-type=module-typescript -e "$1"`;
  const { stdout } = await run("bash", ["-c", command, process.execPath, script]);
  expect(Number(stdout)).toBe(((4000 - 1600) * 0.625) / 2);
});

const crowd = `
import net from "node:net";
import { openDevicePort } from ${JSON.stringify(new URL("device-port.ts", import.meta.url).href)};
const gateway = await openDevicePort();
let [answered, closed] = [0, 0];
for (let i = 0; i < 40; i++) {
  const socket = net.connect(gateway.port, "127.0.0.1");
  let got = false;
  const count = () => {
    if (!got) closed++;
    if (answered + closed < 40) return;
    console.log(answered);
    process.exit();
  };
  socket.on("error", () => {});
  socket.on("close", count);
  socket.on("data", () => {
    got = true;
    answered++;
    if (answered + closed === 40) count();
  });
  socket.write("GET /nothing HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n");
}
`;

test("HTTP connections count among them", async () => {
  const command = `ulimit -n 1632; exec "$0" --input-type=module-typescript -e "$1"`;
  const { stdout } = await run("bash", ["-c", command, process.execPath, crowd]);
  expect(Number(stdout)).toBe((1632 - 1600) * 0.625);
});
