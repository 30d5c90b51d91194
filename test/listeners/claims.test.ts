import fc from "fast-check";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterAll, expect, test } from "vitest";
import { ClaimRegistry, ClaimsPort } from "../../src/listeners/claims.ts";
import type { Holder } from "../../src/listeners/intake-types.ts";

const ports: MessagePort[] = [];
afterAll(() => {
  for (const p of ports) p.close();
});

function workersOf(registry: ClaimRegistry, n: number): ClaimsPort[] {
  return Array.from({ length: n }, () => {
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    registry.addWorker(port1);
    return new ClaimsPort(port2);
  });
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 25));

/** A connection: it may close by itself, and lets go of its name only after `linger` turns. */
class Connection implements Holder {
  open = true;
  reading = false;
  gone = false;
  readonly #claims: ClaimsPort;
  readonly #linger: number;

  constructor(claims: ClaimsPort, id: string, linger: number) {
    this.#claims = claims;
    this.#linger = linger;
    claims.claim("client", id, this);
  }
  granted(): void {
    if (this.open) this.reading = true;
  }
  taken(released: () => void): void {
    this.#leave(released);
  }
  close(): void {
    if (this.open) this.#leave(() => this.#claims.release(this));
  }
  #leave(release: () => void): void {
    this.open = false;
    const wait = (turns: number): void => {
      if (turns > 0) return void setImmediate(wait, turns - 1);
      this.reading = false;
      this.gone = true;
      release();
    };
    wait(this.#linger);
  }
}

test("one connection a client id is read, and the newest one gets it in the end", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          worker: fc.nat(2),
          id: fc.constantFrom("a", "b", "__proto__"),
          linger: fc.nat(3),
          closes: fc.boolean(),
          pause: fc.boolean(),
        }),
        { minLength: 1, maxLength: 12 },
      ),
      async (steps) => {
        const workers = workersOf(new ClaimRegistry(() => false), 3);
        const byId = new Map<string, Connection[]>();
        const check = (): void => {
          for (const list of byId.values()) {
            expect(list.filter((c) => c.reading).length).toBeLessThanOrEqual(1);
          }
        };
        const checking = setInterval(check, 1);
        for (const { worker, id, linger, closes, pause } of steps) {
          const c = new Connection(workers[worker], id, linger);
          byId.set(id, [...(byId.get(id) ?? []), c]);
          check();
          if (pause) await new Promise((resolve) => setImmediate(resolve));
          if (closes) c.close();
        }
        await settled();
        clearInterval(checking);
        check();
        for (const list of byId.values()) {
          const last = list.filter((c) => c.open).at(-1);
          for (const c of list) expect(c.reading).toBe(c === last);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("whether a client has a session is asked when it is granted", async () => {
  const asked: string[] = [];
  const [worker] = workersOf(
    new ClaimRegistry((id) => {
      asked.push(id);
      return id === "has/one";
    }),
    1,
  );
  const answers: boolean[] = [];
  for (const id of ["has/one", "none"]) {
    worker.claim("client", id, { granted: (b) => answers.push(b), taken: () => {} });
  }
  worker.claim("driver", "has/one", { granted: (b) => answers.push(b), taken: () => {} });
  await settled();
  expect(answers).toEqual([true, false, false]);
  expect(asked).toEqual(["has/one", "none"]);
});
