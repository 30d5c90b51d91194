/** Libraries that come as classic scripts, and what tests may read. */
import type * as core from "@deck.gl/core";
import type * as layers from "@deck.gl/layers";
import type * as mapbox from "@deck.gl/mapbox";
import type * as topojsonClient from "topojson-client";
import type { Shown } from "./shown.ts";

declare global {
  const deck: typeof core & typeof layers & typeof mapbox;
  const topojson: typeof topojsonClient;
  interface Window {
    /** For tests: what is shown, read-only. */
    readonly milepostMap: Shown;
  }
}
