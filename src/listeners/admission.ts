/** How many device connections a worker may hold: its part of what there may be. */
import { connectionShares } from "../model/connection-shares.ts";

export class Admission {
  readonly max: number;
  open = 0;

  constructor(workers: number) {
    this.max = Math.max(16, Math.floor(connectionShares().devices / workers));
  }

  get full(): boolean {
    return this.open >= this.max;
  }
}
