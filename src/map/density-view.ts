/** Views too wide for markers, or with too many drivers in them: numbers by H3 cell. */
import { densityOf, resolutionAt, type Cell, type Counted } from "./density.ts";
import type { Fleet } from "./fleet.ts";
import { element } from "./page.ts";
import * as rest from "./rest.ts";
import type { Box } from "./box.ts";

/** Below this zoom drivers are counted, not drawn. */
export const DENSITY_BELOW_ZOOM = 9;
/** The gateway counts by squares of a kilometre: finer cells would show the squares. */
const COUNTED_RESOLUTION_MAX = 6;
const whole = new Intl.NumberFormat("en");

export class DensityView {
  cells: Cell[] = [];
  /** By the gateway, where drivers are too many to be sent; null: they are not. */
  #counts: Counted[] | null = null;

  isFor(zoom: number): boolean {
    return this.#counts !== null || zoom < DENSITY_BELOW_ZOOM;
  }

  /** The drivers of the view are sent, one by one. */
  useFleet(): void {
    this.#counts = null;
  }

  /** They are too many: the gateway counts them. How many; unlimited when it does not answer. */
  async count(box: Box): Promise<number> {
    this.#counts ??= [];
    try {
      const counts = await rest.counts(box);
      if (this.#counts !== null) this.#counts = counts;
      return counts.reduce((sum, { count }) => sum + count, 0);
    } catch {
      return Infinity; // asked again soon
    }
  }

  /** Whom the cells count, or would. */
  drivers(fleet: Fleet): Counted[] {
    if (this.#counts !== null) return this.#counts;
    return [...fleet.pings()].map(({ lon, lat }) => ({ lon, lat, count: 1 }));
  }

  update(fleet: Fleet, zoom: number, lat: number): void {
    const legend = element("legend");
    this.cells = [];
    if (this.isFor(zoom)) {
      const finest = this.#counts === null ? Infinity : COUNTED_RESOLUTION_MAX;
      this.cells = densityOf(this.drivers(fleet), Math.min(finest, resolutionAt(zoom, lat)));
    }
    legend.hidden = this.cells.length === 0;
    const most = this.cells.reduce((max, { count }) => Math.max(max, count), 0);
    const why = this.#counts === null ? "" : "Too many to show one by one; zoom in to see each.";
    element("legend-why").textContent = why;
    element("legend-most").textContent = whole.format(most);
  }
}
