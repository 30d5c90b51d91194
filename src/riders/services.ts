/** What riders' connections and requests lean on. */
import type { Live } from "../live/live.ts";
import type { Registry } from "../metrics/registry.ts";

export type RiderServices = {
  readonly live: Live;
  readonly registry: Registry;
  /** Origins of web pages besides the gateway's own, or `*`. */
  readonly allowOrigin: readonly string[];
  /** A line for the operator. */
  report(line: string): void;
};
