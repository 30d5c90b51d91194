/** What deck.gl draws above the base map. */
import type { Layer } from "@deck.gl/core";
import type { Cell } from "./density.ts";
import type { Drawn } from "./fleet.ts";
import type { Palette, Rgb } from "./palette.ts";
import type { Fix } from "./trail.ts";

const ICON = 64;
const RECENT_MS = 3 * 60_000;
/** How strong the others are while one is selected. */
const BESIDE = 0.6;

/** Two shapes side by side: an arrow for who moves, a dot for who stands; white, as masks. */
export function drawIcons(): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = 2 * ICON;
  canvas.height = ICON;
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  pen.fillStyle = pen.strokeStyle = "#fff";
  pen.lineJoin = "round";
  pen.lineWidth = 5;
  pen.beginPath();
  pen.moveTo(32, 7);
  pen.lineTo(52, 55);
  pen.lineTo(32, 45);
  pen.lineTo(12, 55);
  pen.closePath();
  pen.fill();
  pen.stroke();
  pen.beginPath();
  pen.arc(ICON + 32, 32, 17, 0, 2 * Math.PI);
  pen.fill();
  return canvas;
}

const icons = {
  arrow: { x: 0, y: 0, width: ICON, height: ICON, mask: true },
  dot: { x: ICON, y: 0, width: ICON, height: ICON, mask: true },
};

/** Arrays handed to the graphics card, kept from frame to frame. */
let colors = new Uint8Array(0);
let edges = new Uint8Array(0);
let angles = new Float32Array(0);

export function vehicleLayers(
  drawn: Drawn,
  options: { atlas: HTMLCanvasElement; palette: Palette; zoom: number; selected: string | null },
): Layer[] {
  const { count, places, headings, moving, alpha } = drawn;
  const { atlas, palette, zoom, selected } = options;
  if (colors.length < 4 * count) {
    colors = new Uint8Array(8 * count);
    edges = new Uint8Array(8 * count);
    angles = new Float32Array(2 * count);
  }
  for (let i = 0; i < count; i++) {
    const [red, green, blue] =
      drawn.ids[i] === selected ? palette.selected : moving[i] ? palette.accent : palette.still;
    const opacity = 255 * alpha[i] * (selected === null || drawn.ids[i] === selected ? 1 : BESIDE);
    colors.set([red, green, blue, opacity], 4 * i);
    edges.set([...palette.edge, opacity], 4 * i);
    angles[i] = moving[i] ? -headings[i] : 0;
  }
  const size = Math.min(30, Math.max(11, 11 + (zoom - 9) * 3));
  const layer = (id: string, color: Uint8Array, pixels: number) =>
    new deck.IconLayer({
      id,
      data: {
        length: count,
        attributes: {
          getPosition: { value: places.subarray(0, 2 * count), size: 2 },
          getAngle: { value: angles.subarray(0, count), size: 1 },
          getColor: { value: color.subarray(0, 4 * count), size: 4, normalized: true },
        },
      },
      getIcon: (_: unknown, { index }: { index: number }) => (moving[index] ? "arrow" : "dot"),
      getSize: pixels,
      iconAtlas: atlas as never,
      iconMapping: icons,
      billboard: false,
      pickable: false,
    });
  return [layer("vehicle-edges", edges, size * 1.32), layer("vehicles", colors, size)];
}

/** A ring around the driver that is selected. */
export function selectionLayer(at: [number, number], palette: Palette, zoom: number): Layer {
  return new deck.ScatterplotLayer({
    id: "selection",
    data: [at],
    getPosition: (place: [number, number]) => place,
    getRadius: Math.min(24, Math.max(13, 13 + (zoom - 9) * 2)),
    radiusUnits: "pixels",
    getFillColor: [...palette.accent, 50] as [...Rgb, number],
    getLineColor: [...palette.accent, 255] as [...Rgb, number],
    stroked: true,
    getLineWidth: 2,
    lineWidthUnits: "pixels",
  });
}

/** The last hour thin; its last minutes thicker, and fainter the longer ago. */
export function trailLayers(lines: Fix[][], head: [number, number], palette: Palette): Layer[] {
  const newest = lines.at(-1)?.at(-1)?.ts ?? 0;
  const paths = lines.map((line) => line.map(({ lon, lat }) => [lon, lat] as [number, number]));
  const recent = (lines.at(-1) ?? []).filter(({ ts }) => ts >= newest - RECENT_MS);
  // the marker is still on its way to the last fix: the trail ends where it is seen
  const end = recent.slice(0, -1);
  const path = [...end.map(({ lon, lat }) => [lon, lat] as [number, number]), head];
  const tints = [...end, { ts: newest }].map(({ ts }) => {
    const age = Math.min(1, (newest - ts) / RECENT_MS);
    return [...palette.accent, 60 + 195 * (1 - age)] as [...Rgb, number];
  });
  const common = { widthUnits: "pixels", jointRounded: true, capRounded: true } as const;
  return [
    new deck.PathLayer({
      id: "track",
      data: paths,
      getPath: (line: [number, number][]) => line,
      getColor: [...palette.accent, 110] as [...Rgb, number],
      getWidth: 2,
      ...common,
    }),
    new deck.PathLayer({
      id: "trail",
      data: [{ path, tints }],
      getPath: (line: { path: [number, number][] }) => line.path,
      getColor: ((line: { tints: [...Rgb, number][] }) => line.tints) as never,
      getWidth: 4.5,
      ...common,
    }),
  ];
}

export function densityLayer(cells: Cell[], palette: Palette): Layer {
  const most = cells.reduce((max, { count }) => Math.max(max, count), 1);
  const strength = (count: number) => Math.sqrt(count / most);
  const corners = cells.reduce((sum, { outline }) => sum + outline.length, 0);
  return new deck.PolygonLayer({
    // deck.gl goes on filling polygons that a layer had before, so one of another size is a new one
    id: `density-${corners}`,
    data: cells,
    getPolygon: (cell: Cell) => cell.outline,
    getFillColor: (cell: Cell) =>
      [...palette.accent, 35 + 185 * strength(cell.count)] as [...Rgb, number],
    getLineColor: [...palette.accent, 200] as [...Rgb, number],
    lineWidthUnits: "pixels",
    getLineWidth: 1,
    stroked: true,
    filled: true,
    extruded: false,
    pickable: false,
  });
}
