import type { Exchange } from "../lib/http-exchange.ts";
import type { Head } from "../lib/http-guard.ts";

/** A GET or HEAD for one of the routes. */
export type RiderRequest = {
  exchange: Exchange;
  head: Head;
  params: Map<string, string>;
  /** The driver's id of the path, decoded; empty on routes without one. */
  id: string;
  /** A header field, empty when not there; only until the route returns. */
  header(name: string): string;
  /** A web page of an origin that is neither ours nor allowed asks. */
  isForeign: boolean;
};

/** Thrown by whoever reads parameters, and answered as it says. */
export class BadRequest extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "BadRequest";
    this.code = code;
  }
}
