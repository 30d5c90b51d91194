/** The live map: what is on screen is subscribed, glides between fixes, and can be followed. */
import type { Layer } from "@deck.gl/core";
import { isWithin, text, WORLD } from "./box.ts";
import { Canvas } from "./canvas.ts";
import { DENSITY_BELOW_ZOOM, DensityView } from "./density-view.ts";
import { Feed } from "./feed.ts";
import { Fleet } from "./fleet.ts";
import { densityLayer, drawIcons, selectionLayer, trailLayers, vehicleLayers } from "./layers.ts";
import { element, reducedMotion } from "./page.ts";
import { Panel } from "./panel.ts";
import { readHash, writeHash } from "./place-in-url.ts";
import type { Ping, Publication } from "./ping.ts";
import { Rates } from "./rates.ts";
import * as rest from "./rest.ts";
import { watchSearch } from "./search.ts";
import { Selection } from "./selection.ts";
import type { Shown } from "./shown.ts";
import { Status } from "./status.ts";
import { watchTheme } from "./theme.ts";

const SETTLED_MS = 200;
const FIGURES_MS = 1000;
const COUNT_MS = 3000;
const HIDDEN_MS = 10_000;
const FIRST_MS = 1500;
/** Drivers in a box that was refused, below which it is tried again: the gateway takes 5000. */
const FEW = 4500;
/** Pixels around a marker that belong to it: half of a touch target. */
const TOUCH = 24;

const start = readHash(location.hash);
const canvas = new Canvas(watchTheme(repaint), start.view);
const fleet = new Fleet();
const density = new DensityView();
const rates = new Rates();
const status = new Status();
const atlas = drawIcons();
const feed = new Feed({
  connection: (state, reason) => {
    status.connect(state, reason);
    if (state === "live") look();
    else rates.reset();
  },
  beginSnapshot: () => {
    density.useFleet();
    fleet.beginSnapshot();
  },
  endSnapshot: () => {
    fleet.endSnapshot(selection.id);
    look(); // less often, when there are many
    refresh();
  },
  tooMany: () => {
    fleet.clear();
    void count();
  },
  publication: take,
  followed: (ping) => {
    take(ping);
    selection.take(ping);
  },
  missed: () => selection.loadTrack(),
});
const panel = new Panel({ close: deselect, follow: () => follow(!selection.following) });
const selection = new Selection(feed, panel);

/** Whether any driver was ever heard of; null: not yet known. */
let anyDrivers: boolean | null = null;
/** Nobody has moved the map: it may go where the first drivers turn up. */
let untouched = start.view === null && start.driver === null;
let inView = 0;
let frames = 0;
let updates = 0;
let stirredMs = 0;
let settling = 0;
let hiding = 0;

function repaint(theme: "dark" | "light"): void {
  canvas.paint(theme);
  stir();
}

function take(data: Publication): void {
  const nowMs = performance.now();
  // a device may send a member of that name, too
  if (!("lat" in data)) {
    if (data.id !== selection.id) fleet.remove(data.id);
    else if (data.gone === "stale") selection.isStale = true;
    return;
  }
  if (fleet.put(data, nowMs, !reducedMotion.matches)) {
    stirredMs = nowMs;
    if (!fleet.isInSnapshot) {
      updates++;
      rates.count(nowMs, Date.now() - data.received);
    }
  }
  if (anyDrivers !== true) firstDriver();
}

/** The map goes where drivers turn up, once there was time for some more than the first. */
function firstDriver(): void {
  anyDrivers = true;
  element("empty").hidden = true;
  if (untouched) setTimeout(() => untouched && void showAll(true).catch(() => {}), FIRST_MS);
}

/** Something changed that is to be drawn. */
function stir(): void {
  stirredMs = performance.now();
}

function isDensity(): boolean {
  return density.isFor(canvas.map.getZoom());
}

/** A marker is on its way for some seconds after the last update; then nothing is drawn. */
const GLIDE_MS = 8000;
/** Nobody sees a marker move by less between two frames; at most so long apart they are drawn. */
const PIXELS_A_FRAME = 0.3;
const FRAME_MS_MAX = 100;
/** m/s */
const FAST = 25;
let drawnMs = 0;

function frame(nowMs: number): void {
  requestAnimationFrame(frame);
  if (nowMs - stirredMs > GLIDE_MS) return;
  const restMs = ((PIXELS_A_FRAME * canvas.metresPerPixel) / FAST) * 1000;
  if (nowMs - drawnMs < Math.min(FRAME_MS_MAX, restMs)) return;
  drawnMs = nowMs;
  frames++;
  const { palette } = canvas;
  const zoom = canvas.map.getZoom();
  const layers: Layer[] = [];
  const { id } = selection;
  const at = id === null ? null : fleet.placeOf(id, nowMs);
  if (isDensity()) layers.push(densityLayer(density.cells, palette));
  if (at !== null) {
    layers.push(...trailLayers(selection.trail.lines(), at, palette));
    layers.push(selectionLayer(at, palette, zoom));
  }
  const drawn = fleet.draw(nowMs, Date.now(), { top: id, alone: isDensity() });
  layers.push(...vehicleLayers(drawn, { atlas, palette, zoom, selected: id }));
  if (at !== null && selection.following && !canvas.isFlying)
    canvas.keepAt(at[0], at[1], panel.covered);
  canvas.draw(layers);
}

/** Subscribes to what is on screen. */
function look(): void {
  if (document.hidden) return;
  feed.look(canvas.box, fleet.size);
}

function settle(): void {
  clearTimeout(settling);
  settling = window.setTimeout(() => {
    look();
    refresh();
    if (!selection.following) writeUrl();
  }, SETTLED_MS);
}

function writeUrl(): void {
  history.replaceState(null, "", writeHash({ view: canvas.view, driver: selection.id }));
}

/** What is shown beside the markers; once a second, and when the view has changed. */
function refresh(): void {
  const box = canvas.box;
  const nowMs = performance.now();
  const visible = density.drivers(fleet).filter(({ lon, lat }) => isWithin(box, lon, lat));
  inView = visible.reduce((sum, { count: drivers }) => sum + drivers, 0);
  status.figures(inView, rates.perSecond(nowMs), rates.latencyMs(nowMs));
  const { zoom, lat } = canvas.view;
  density.update(fleet, zoom, lat);
  showSelected();
  stir();
}

function showSelected(): void {
  const { id, trail } = selection;
  if (id === null) return;
  const ping = fleet.get(id);
  if (ping === undefined) return;
  panel.show(ping, Date.now(), selection.isStale);
  panel.showTrail(trail);
}

async function count(): Promise<void> {
  const box = feed.refused;
  if (box === null || document.hidden) return;
  if ((await density.count(box)) < FEW) {
    feed.retry();
    look();
  }
  refresh();
}

function select(ping: Ping): void {
  fleet.put(ping, performance.now(), false);
  untouched = false;
  selection.select(ping.id);
  showSelected();
  writeUrl();
  stir();
}

function deselect(): void {
  const { id } = selection;
  selection.clear();
  const ping = id === null ? undefined : fleet.get(id);
  const box = feed.box;
  // it was kept while it was elsewhere
  if (ping && (box === null || !isWithin(box, ping.lon, ping.lat))) fleet.remove(ping.id);
  writeUrl();
  stir();
}

function follow(on: boolean): void {
  selection.follow(on);
  untouched = false;
  const ping = selection.id === null ? undefined : fleet.get(selection.id);
  const isFar = canvas.map.getZoom() < DENSITY_BELOW_ZOOM + 3;
  if (on && ping !== undefined && isFar) canvas.flyTo(ping.lon, ping.lat, panel.covered);
  stir();
}

/** The nearest marker within reach of a finger. */
function markerAt(x: number, y: number): string | null {
  if (isDensity()) return null;
  const drawn = fleet.draw(performance.now(), Date.now());
  let nearest: string | null = null;
  let least = TOUCH;
  for (let i = 0; i < drawn.count; i++) {
    const at = canvas.pixelOf(drawn.places[2 * i], drawn.places[2 * i + 1]);
    const distance = Math.hypot(at.x - x, at.y - y);
    if (distance >= least) continue;
    least = distance;
    nearest = drawn.ids[i];
  }
  return nearest;
}

async function showAll(animate: boolean): Promise<void> {
  const pings = await rest.driversIn(WORLD);
  anyDrivers = pings.length > 0;
  element("empty").hidden = anyDrivers;
  element("example-ts").textContent = String(Date.now());
  canvas.fit(pings, panel.covered, animate);
}

canvas.map.on("move", stir);
canvas.map.on("moveend", settle);
canvas.map.on("click", ({ point }) => {
  const id = markerAt(point.x, point.y);
  const ping = id === null ? undefined : fleet.get(id);
  if (ping === undefined) return;
  select(ping);
  canvas.bringIntoView(ping.lon, ping.lat, panel.covered);
});
canvas.map.on("mousemove", ({ point }) => {
  canvas.map.getCanvas().style.cursor = markerAt(point.x, point.y) === null ? "" : "pointer";
});
canvas.map.on("dragstart", () => {
  untouched = false;
  if (selection.following) follow(false);
});
canvas.map.on("wheel", () => (untouched = false));
watchSearch(
  () => fleet.ids(),
  (ping) => {
    select(ping);
    canvas.flyTo(ping.lon, ping.lat, panel.covered);
    selection.follow(true);
  },
);
element("fit").addEventListener("click", () => {
  follow(false);
  showAll(true).catch(() => {}); // the line of figures says that the gateway is away
});
addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && selection.id !== null) deselect();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = window.setTimeout(() => feed.pause(), HIDDEN_MS);
  else feed.connect();
});
setInterval(refresh, FIGURES_MS);
setInterval(() => void count(), COUNT_MS);

const shown: Shown = {
  get connection() {
    return status.connection;
  },
  get mode() {
    return isDensity() ? "density" : "drivers";
  },
  get drivers() {
    return fleet.size;
  },
  get inView() {
    return inView;
  },
  get updates() {
    return updates;
  },
  get box() {
    return feed.box === null ? null : text(feed.box);
  },
  get zoom() {
    return canvas.map.getZoom();
  },
  get selected() {
    return selection.id;
  },
  get following() {
    return selection.following;
  },
  get trail() {
    return selection.trail.length;
  },
  get frames() {
    return frames;
  },
  ids: () => [...fleet.ids()],
  placeOf: (id) => {
    const at = fleet.placeOf(id, performance.now());
    if (at === null) return null;
    const { x, y } = canvas.pixelOf(at[0], at[1]);
    return { lon: at[0], lat: at[1], x, y };
  },
};
Object.defineProperty(window, "milepostMap", { value: shown });

async function begin(): Promise<void> {
  requestAnimationFrame(frame);
  if (start.view === null) await showAll(false).catch(() => {});
  feed.connect();
  if (start.driver === null) return;
  const ping = await rest.driver(start.driver).catch(() => null);
  if (ping === null) return;
  select(ping);
  if (start.view === null) canvas.flyTo(ping.lon, ping.lat, panel.covered);
  else canvas.bringIntoView(ping.lon, ping.lat, panel.covered);
}

void begin();
