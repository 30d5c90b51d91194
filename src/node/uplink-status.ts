/** What the main thread knows of the way up. */
import type { Worker } from "node:worker_threads";
import type { Check } from "../lib/health.ts";
import type { FromUplink } from "./uplink.ts";

export class UplinkStatus {
  readonly worker: Worker;
  /** Nothing is acknowledged without the cluster. */
  readonly #isMirrored: boolean;
  #trouble = "";

  constructor(worker: Worker, isMirrored: boolean) {
    this.worker = worker;
    this.#isMirrored = isMirrored;
    worker.on("message", (m: FromUplink) => {
      if ("trouble" in m) this.#trouble = m.trouble;
    });
  }

  get check(): Check {
    const isUp = this.#trouble === "";
    const detail = isUp ? "what is taken gets to the cluster" : this.#trouble;
    return { name: "uplink", ok: isUp || !this.#isMirrored, degraded: !isUp, detail };
  }
}
