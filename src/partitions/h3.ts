/**
 * h3-js. An import would look for the names that it exports in its megabyte of generated code: 120
 * ms of processor time in every thread. `require` does not.
 */
import { createRequire } from "node:module";
import type * as H3 from "h3-js";

const h3 = createRequire(import.meta.url)("h3-js") as typeof H3;

export const { cellToBoundary, getIcosahedronFaces, getResolution, isValidCell, latLngToCell } = h3;
