/** Requests that may take long: a step of each in turn, so that commits may begin between them. */
import { limits } from "../model/limits.ts";
import type { Answering } from "./requests.ts";

export type Work<T> = { of: T; answering: Answering<unknown> };

export class Works<T> {
  readonly #step: (work: Work<T>) => boolean;
  #works: Work<T>[] = [];

  /** `step` goes on with a work; true when it is answered. */
  constructor(step: (work: Work<T>) => boolean) {
    this.#step = step;
  }

  add(work: Work<T>): void {
    if (this.#works.push(work) === 1) setImmediate(this.#goOn);
  }

  /** All together for so long. */
  #goOn = (): void => {
    const until = performance.now() + limits.logStepMs;
    do {
      const work = this.#works.shift() as Work<T>;
      if (!this.#step(work)) this.#works.push(work);
    } while (this.#works.length > 0 && performance.now() < until);
    if (this.#works.length > 0) setImmediate(this.#goOn);
  };
}
