/** What the floors and peers share: their one option and the line that says they are up. */
import { parseArgs } from "node:util";

export function portOption(): number {
  const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });
  return Number(values.port);
}

export function announce(port: number): void {
  console.log(JSON.stringify({ port, pid: process.pid }));
}
