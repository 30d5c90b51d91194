/**
 * Live analytics: per H3 cell and minute, how many drivers there were, how fast, how many pings.
 * Reads `positions-by-cell`, where all pings of a cell stand in one partition: a gateway with
 * `--regions`, as the demo is.
 *
 * A minute is told when it is over; the group commits only what is told, so a minute that a restart
 * cuts in two is counted from its first ping.
 */
import { read, say } from "./service.ts";

type Ping = { id: string; speed?: number };
type Cell = { pings: number; drivers: Set<string>; speeds: number; measured: number };
type Minute = { minute: number; firstOffset: bigint; cells: Map<string, Cell> };

/** The open minute of each partition. */
const open = new Map<number, Minute>();

say("analytics", "tells of each minute when it is over");
for await (const record of read<Ping>("analytics", "positions-by-cell", {
  neededFrom: (partition) => open.get(partition)?.firstOffset,
  lost: (partition) => open.delete(partition),
})) {
  const { partition, offset, key: cell = "", value: ping, timestamp } = record;
  // by the gateway's clock, which goes one way in a partition; phones' clocks differ
  const minute = Math.floor(timestamp / 60_000);
  let current = open.get(partition);
  if (current === undefined || current.minute < minute) {
    if (current !== undefined) tell(current);
    current = { minute, firstOffset: offset, cells: new Map() };
    open.set(partition, current);
  }
  const counts = current.cells.get(cell) ?? newCell();
  current.cells.set(cell, counts);
  counts.pings++;
  counts.drivers.add(ping.id);
  if (ping.speed === undefined) continue;
  counts.speeds += ping.speed;
  counts.measured++;
}

function newCell(): Cell {
  return { pings: 0, drivers: new Set(), speeds: 0, measured: 0 };
}

function tell({ minute, cells }: Minute): void {
  const at = new Date(minute * 60_000).toISOString().slice(0, 16);
  for (const [cell, { pings, drivers, speeds, measured }] of cells) {
    const speed = measured === 0 ? null : Number((speeds / measured).toFixed(1));
    console.log(JSON.stringify({ minute: at, cell, drivers: drivers.size, speed, pings }));
  }
}
