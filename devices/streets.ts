import { Random, smoothNoise } from "./random.ts";

/**
 * A street graph. Junctions have places in metres east and north of the extent's south-west
 * corner; junction 0 is at the centre, and all can be reached from it. Street `s` can be driven
 * both ways: lane `2s` leads from `from[s]` to `to[s]`, lane `2s + 1` back.
 */
export type Streets = {
  x: Float64Array;
  y: Float64Array;
  from: Int32Array;
  to: Int32Array;
  lengths: Float64Array;
  /** Index into `streetKinds` and `speedLimits`. */
  kinds: Uint8Array;
  /** 1 where there is no radio: what a driver measures here is sent when it is out again. */
  tunnels: Uint8Array;
  /** Lanes that leave junction `j`: `lanesOut[firstOut[j]]` up to `firstOut[j + 1]`. */
  firstOut: Int32Array;
  lanesOut: Int32Array;
};

/** What streets are laid on. */
export type Ground = {
  seed: number;
  /** Metres. */
  width: number;
  height: number;
  centreX: number;
  centreY: number;
  rings: readonly number[];
  radials: number;
};

const block = 380;
/** No junction lies nearer to the edge than this, so that GPS noise stays on the extent. */
const margin = 300;
const collectorEvery = 5;
const [ring, arterial, collector, local] = [0, 1, 2, 3];
const none = 255;

type Point = { x: number; y: number };

/** Streets of the lattice: `right` leads from junction j to j + 1, `up` to j + columns. */
class Lattice {
  readonly columns: number;
  readonly rows: number;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly right: Uint8Array;
  readonly up: Uint8Array;

  constructor(ground: Ground, random: Random) {
    this.columns = Math.floor((ground.width - 2 * margin) / block) + 1;
    this.rows = Math.floor((ground.height - 2 * margin) / block) + 1;
    const count = this.columns * this.rows;
    this.x = new Float64Array(count);
    this.y = new Float64Array(count);
    this.right = new Uint8Array(count).fill(none);
    this.up = new Uint8Array(count).fill(none);
    for (let j = 0; j < count; j++) {
      const x = margin + (j % this.columns) * block;
      const y = margin + Math.floor(j / this.columns) * block;
      const edge = Math.min(x, y, ground.width - x, ground.height - y) - margin;
      const sway = 700 * Math.min(1, edge / 2500);
      const jitter = edge > block ? 0.22 * block : 0;
      this.x[j] = x + sway * smoothNoise(ground.seed + 11, x / 5200, y / 5200);
      this.y[j] = y + sway * smoothNoise(ground.seed + 12, x / 5200, y / 5200);
      this.x[j] += jitter * random.between(-1, 1);
      this.y[j] += jitter * random.between(-1, 1);
    }
  }

  nearest(p: Point): number {
    const column = Math.round((p.x - margin) / block);
    const row = Math.round((p.y - margin) / block);
    let best = -1;
    let bestDistance = Infinity;
    for (let r = Math.max(0, row - 3); r <= Math.min(this.rows - 1, row + 3); r++) {
      for (let c = Math.max(0, column - 3); c <= Math.min(this.columns - 1, column + 3); c++) {
        const j = r * this.columns + c;
        const distance = Math.hypot(this.x[j] - p.x, this.y[j] - p.y);
        if (distance < bestDistance) [best, bestDistance] = [j, distance];
      }
    }
    return best;
  }

  /** Makes the street between two neighbours at least as fast as `kind`. */
  mark(a: number, b: number, kind: number): void {
    const low = Math.min(a, b);
    const side = Math.abs(a - b) === 1 ? this.right : this.up;
    side[low] = Math.min(side[low], kind);
  }
}

/**
 * Lays an irregular street network: a warped, jittered lattice with streets, lakes and
 * countryside taken out; ring roads and radial arterials are traced over it, and the junctions
 * they pass are pulled onto their curves. What is not connected to the centre is left out.
 */
export function layStreets(ground: Ground): Streets {
  const random = new Random(ground.seed);
  const lattice = new Lattice(ground, random);
  layLocal(lattice, ground, random);
  const snapped = new Map<number, Point>();
  for (const radius of ground.rings) {
    trace(lattice, ringCurve(ground, radius, random), ring, snapped);
  }
  for (let k = 0; k < ground.radials; k++) {
    trace(lattice, radialCurve(ground, k, random), arterial, snapped);
  }
  for (const [j, place] of snapped) {
    lattice.x[j] = place.x;
    lattice.y[j] = place.y;
  }
  return compact(lattice, ground, random);
}

function layLocal(lattice: Lattice, ground: Ground, random: Random): void {
  const { columns, rows } = lattice;
  const lake = (j: number) => {
    const [x, y] = [lattice.x[j], lattice.y[j]];
    const fromCentre = Math.hypot(x - ground.centreX, y - ground.centreY);
    return fromCentre > 2500 && smoothNoise(ground.seed + 13, x / 2300, y / 2300) > 0.62;
  };
  for (let j = 0; j < columns * rows; j++) {
    const [column, row] = [j % columns, Math.floor(j / columns)];
    const fromCentre = Math.hypot(lattice.x[j] - ground.centreX, lattice.y[j] - ground.centreY);
    const missing = 0.12 + 0.4 * Math.min(1, fromCentre / 22_000) ** 2;
    const lay = (side: Uint8Array, other: number, main: boolean) => {
      const gap = main ? missing * 0.25 : missing;
      if (random.next() < gap || lake(j) || lake(other)) return;
      side[j] = main ? collector : local;
    };
    if (column + 1 < columns) lay(lattice.right, j + 1, row % collectorEvery === 2);
    if (row + 1 < rows) lay(lattice.up, j + columns, column % collectorEvery === 2);
  }
}

function ringCurve(ground: Ground, radius: number, random: Random): Point[] {
  const phases = [random.between(0, 7), random.between(0, 7), random.between(0, 7)];
  const steps = Math.ceil((2 * Math.PI * radius) / 120);
  const points: Point[] = [];
  for (let step = 0; step <= steps; step++) {
    const angle = (2 * Math.PI * step) / steps;
    const bend =
      1 +
      0.07 * Math.sin(2 * angle + phases[0]) +
      0.04 * Math.sin(3 * angle + phases[1]) +
      0.02 * Math.sin(5 * angle + phases[2]);
    points.push({
      x: ground.centreX + radius * bend * Math.cos(angle),
      y: ground.centreY + radius * bend * Math.sin(angle),
    });
  }
  return points.filter((p) => onGround(ground, p));
}

function radialCurve(ground: Ground, k: number, random: Random): Point[] {
  const first = ((k + random.between(-0.25, 0.25)) * 2 * Math.PI) / ground.radials;
  const points: Point[] = [];
  for (let distance = 400; ; distance += 120) {
    const angle = first + 0.25 * smoothNoise(ground.seed + 20 + k, distance / 6000, 0.5);
    const point = {
      x: ground.centreX + distance * Math.cos(angle),
      y: ground.centreY + distance * Math.sin(angle),
    };
    if (!onGround(ground, point)) return points;
    points.push(point);
  }
}

function onGround(ground: Ground, p: Point): boolean {
  const [right, top] = [ground.width - margin, ground.height - margin];
  return p.x > margin && p.y > margin && p.x < right && p.y < top;
}

/** Leads a road along a curve, from junction to junction of the lattice. */
function trace(lattice: Lattice, curve: Point[], kind: number, snapped: Map<number, Point>): void {
  let last = -1;
  let lastPoint: Point | null = null;
  for (const point of curve) {
    const next = lattice.nearest(point);
    const gap =
      lastPoint !== null && Math.hypot(point.x - lastPoint.x, point.y - lastPoint.y) > 500;
    if (last >= 0 && next !== last && !gap) walk(lattice, last, next, point, kind, snapped);
    if (!snapped.has(next)) snapped.set(next, point);
    last = next;
    lastPoint = point;
  }
}

/** Steps between two near junctions; those passed on the way are pulled onto the curve too. */
function walk(
  lattice: Lattice,
  from: number,
  to: number,
  point: Point,
  kind: number,
  snapped: Map<number, Point>,
): void {
  const { columns } = lattice;
  let at = from;
  while (at !== to) {
    const across = (to % columns) - (at % columns);
    const along = Math.floor(to / columns) - Math.floor(at / columns);
    const sideways = at + Math.sign(across);
    const upward = at + Math.sign(along) * columns;
    const away = (j: number) => Math.hypot(lattice.x[j] - point.x, lattice.y[j] - point.y);
    const next = along === 0 || (across !== 0 && away(sideways) < away(upward)) ? sideways : upward;
    lattice.mark(at, next, kind);
    if (next !== to && !snapped.has(next)) {
      const start = snapped.get(at) ?? point;
      snapped.set(next, { x: (start.x + point.x) / 2, y: (start.y + point.y) / 2 });
    }
    at = next;
  }
}

/** Keeps what can be reached from the centre, numbered anew. */
function compact(lattice: Lattice, ground: Ground, random: Random): Streets {
  const { columns, right, up } = lattice;
  const count = lattice.x.length;
  const numbers = new Int32Array(count).fill(-1);
  const order: number[] = [];
  const visit = (j: number) => {
    if (numbers[j] >= 0) return;
    numbers[j] = order.length;
    order.push(j);
  };
  visit(lattice.nearest({ x: ground.centreX + 400, y: ground.centreY }));
  for (let k = 0; k < order.length; k++) {
    const j = order[k];
    if (right[j] !== none) visit(j + 1);
    if (j > 0 && j % columns > 0 && right[j - 1] !== none) visit(j - 1);
    if (up[j] !== none) visit(j + columns);
    if (j >= columns && up[j - columns] !== none) visit(j - columns);
  }
  const list: { a: number; b: number; kind: number }[] = [];
  for (const j of order) {
    if (right[j] !== none) list.push({ a: numbers[j], b: numbers[j + 1], kind: right[j] });
    if (up[j] !== none) list.push({ a: numbers[j], b: numbers[j + columns], kind: up[j] });
  }
  const x = Float64Array.from(order, (j) => lattice.x[j]);
  const y = Float64Array.from(order, (j) => lattice.y[j]);
  // Two junctions pulled to one place still lie a car's length apart.
  const lengths = Float64Array.from(list, ({ a, b }) =>
    Math.max(5, Math.hypot(x[a] - x[b], y[a] - y[b])),
  );
  const tunnels = Uint8Array.from(list, ({ kind }, s) => {
    const fits = kind <= arterial && lengths[s] > 120 && lengths[s] < 700;
    return fits && random.next() < 0.05 ? 1 : 0;
  });
  return {
    x,
    y,
    from: Int32Array.from(list, (s) => s.a),
    to: Int32Array.from(list, (s) => s.b),
    lengths,
    kinds: Uint8Array.from(list, (s) => s.kind),
    tunnels,
    ...lanesByJunction(order.length, list),
  };
}

function lanesByJunction(junctions: number, list: { a: number; b: number }[]) {
  const firstOut = new Int32Array(junctions + 1);
  for (const { a, b } of list) {
    firstOut[a + 1]++;
    firstOut[b + 1]++;
  }
  for (let j = 0; j < junctions; j++) firstOut[j + 1] += firstOut[j];
  const next = firstOut.slice();
  const lanesOut = new Int32Array(2 * list.length);
  list.forEach(({ a, b }, s) => {
    lanesOut[next[a]++] = 2 * s;
    lanesOut[next[b]++] = 2 * s + 1;
  });
  return { firstOut, lanesOut };
}
