/** What the benches of single sinks share: a city's pings in the log, and what a worker costs. */
import { readFileSync } from "node:fs";
import { compatibilityPartitioner, Producer } from "@platformatic/kafka";
import { City } from "../devices/city.ts";
import { Drivers } from "../devices/drivers.ts";
import { opening, PingWriter } from "../devices/ping.ts";

/** A ping a second each, into `positions`. */
export async function produceCity(broker: string, rows: number, count: number): Promise<void> {
  const producer = new Producer({
    clientId: "bench",
    bootstrapBrokers: [broker],
    partitioner: compatibilityPartitioner,
  });
  const startMs = Date.now() - (rows / count) * 1000;
  const drivers = new Drivers(new City("blr"), { count, seed: 1, startMs });
  const ids = Array.from({ length: count }, (_, i) => `blr-${String(i).padStart(5, "0")}`);
  const openings = ids.map((id) => opening(id));
  const writer = new PingWriter();
  for (let made = 0, second = 1; made < rows; second++) {
    const nowMs = startMs + second * 1000;
    const messages = [];
    for (let i = 0; i < count && made < rows; i++, made++) {
      drivers.advance(i, 1, nowMs);
      const trip = drivers.tripStarted[i] === 0 ? null : `${ids[i]}-${drivers.tripStarted[i] | 0}`;
      writer.write(openings[i], drivers.read(i, nowMs), trip, second);
      messages.push({ topic: "positions", key: Buffer.from(ids[i]), value: writer.copy() });
    }
    await producer.send({ messages, acks: 1 });
    if (second % 200 === 0) process.stderr.write(`produced ${made} of ${rows}\n`);
  }
  await producer.close();
}

export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export function peakMB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}
