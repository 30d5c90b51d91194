/**
 * `kill -9` at any moment, again and again, under load from the simulated fleet on both
 * transports. The fleet's ledger (what was acknowledged) is held against the log: nothing missing,
 * no offset twice, first occurrences in the order sent, every checksum right.
 */
import { spawn } from "node:child_process";
import { readFileSync, rmSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { dump, startGateway, type Dumped, type Gateway } from "../harness/gateway.ts";

const launcher = new URL("../../bin/milepost", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "milepost-kill-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

type Report = { sent: number; acked: number; unacked: number; rejected: number };

function fleet(gateway: Gateway, ledger: string, more: string[]): Promise<Report> {
  const { mqtt, device } = gateway.ports;
  const urls = ["--mqtt", `mqtt://127.0.0.1:${mqtt}`, "--ws", `ws://127.0.0.1:${device}`];
  const args = [launcher, "devices", ...urls, "--ledger", ledger, "--json", ...more];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  let out = "";
  child.stdout.on("data", (b) => (out += String(b)));
  return new Promise((resolve, reject) => {
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(out) as Report);
      else reject(new Error(`devices ended with ${code}`));
    });
  });
}

function checkOffsets(records: Dumped[]): void {
  const next = new Map<number, number>();
  for (const { partition, offset } of records) {
    const expected = next.get(partition);
    if (expected !== undefined) expect(offset).toBe(expected);
    next.set(partition, offset + 1);
  }
}

/** `id/seq` → place of its first occurrence in its partition. */
function firstPlaces(records: Dumped[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const { value, offset } of records) {
    const { id, seq } = JSON.parse(value as string) as { id: string; seq: number };
    const key = `${id}/${seq}`;
    if (!places.has(key)) places.set(key, offset);
  }
  return places;
}

test.each(["flushed", "logged"])(
  "kill -9 under load, --durability %s",
  async (durability) => {
    const ledger = join(dir, `${durability}.ledger`);
    const dataDir = join(dir, durability);
    const args = ["--durability", durability, "--regions", "--workers", "2"];
    let gateway = await startGateway({ args, dataDir });
    const load = "--drivers 120 --hz 10 --seconds 14 --transport both --seed 7";
    const report = fleet(gateway, ledger, load.split(" "));
    for (let i = 0; i < 5; i++) {
      await sleep(700 + Math.random() * 900);
      await gateway.kill();
      gateway = await startGateway({ args, dataDir, ports: gateway.ports });
    }
    const { sent, acked, unacked } = await report;
    expect(await gateway.stop()).toBe(0);
    expect(acked).toBeGreaterThan(1000);
    expect(acked + unacked).toBe(sent);

    const records = await dump(dataDir, "positions");
    checkOffsets(records);
    const places = firstPlaces(records);
    const lines = readFileSync(ledger, "utf8").trimEnd().split("\n");
    expect(lines.length).toBe(acked);
    const last = new Map<string, { seq: number; place: number }>();
    const missing: string[] = [];
    const rows = lines.map((line) => JSON.parse(line) as { id: string; seq: number });
    rows.sort((a, b) => a.seq - b.seq);
    for (const { id, seq } of rows) {
      const place = places.get(`${id}/${seq}`);
      if (place === undefined) {
        missing.push(`${id}/${seq}`);
        continue;
      }
      const before = last.get(id);
      if (before !== undefined && seq > before.seq) expect(place).toBeGreaterThan(before.place);
      last.set(id, { seq, place });
    }
    expect(missing).toEqual([]);

    // and each is in the topic keyed by region, too
    const byCell = await dump(dataDir, "positions-by-cell");
    checkOffsets(byCell);
    const cells = firstPlaces(byCell);
    expect(rows.filter(({ id, seq }) => !cells.has(`${id}/${seq}`))).toEqual([]);
  },
  120_000,
);
