/**
 * Which web pages may read what is served here. A page of the gateway's own origin may, and those
 * of `--allow-origin`; programs send no Origin. A name that somebody else points at this machine
 * (DNS rebinding) would make a foreign page look like our own: so while only this machine can
 * reach the port, it is served under names of this machine and of allowed origins only.
 */
import { isIP } from "node:net";
import { isLoopback } from "../config/address.ts";
import type { Head } from "../lib/http-guard.ts";

/** `own`: the same, or no page; `named`: on the list; `misnamed`: not asked by a name of ours. */
export type Origin = "own" | "named" | "foreign" | "misnamed";

export class WebOrigins {
  readonly #allowed: readonly string[];
  /** Hosts of the origins on the list, without ports. */
  readonly #names: readonly string[];
  readonly #boundTo: string;

  constructor(allowed: readonly string[], boundTo: string) {
    this.#allowed = allowed;
    this.#names = allowed.flatMap((o) => (URL.canParse(o) ? [new URL(o).hostname] : []));
    this.#boundTo = boundTo.toLowerCase();
  }

  judge({ host, origin }: Head): Origin {
    if (!this.#isOurs(hostName(host))) return "misnamed";
    if (origin === null) return "own";
    if (this.#allowed.includes("*") || this.#allowed.includes(origin)) return "named";
    return origin === `http://${host}` || origin === `https://${host}` ? "own" : "foreign";
  }

  #isOurs(name: string): boolean {
    if (name === "" || !isLoopback(this.#boundTo) || this.#allowed.includes("*")) return true;
    if (isIP(name) !== 0 || isLoopback(name) || name.endsWith(".localhost")) return true;
    return name === this.#boundTo || this.#names.includes(name);
  }
}

/** `[::1]:8080` → `::1`, `localhost:8080` → `localhost`. */
function hostName(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host);
  return match?.[1] ?? match?.[2] ?? host;
}
