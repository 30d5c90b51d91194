/** How many device connections a worker may hold: its part of what there may be. */
import { connectionShares, Descriptors } from "../model/connection-shares.ts";

export class Admission {
  readonly max: number;
  readonly #descriptors = new Descriptors();
  open = 0;

  constructor(workers: number) {
    this.max = Math.max(16, Math.floor(connectionShares().devices / workers));
  }

  get full(): boolean {
    return this.open >= this.max || this.#descriptors.areShort;
  }
}
