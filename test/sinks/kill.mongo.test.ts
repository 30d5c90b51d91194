/** The collection holds each offset exactly once. `KILLS=500` makes it a longer night. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { killWorkers } from "./kills.ts";
import { howToAddMongo, missingMongo, MongoServer } from "./mongodb-server.ts";

const kills = Number(process.env.KILLS ?? 4);
const title = `kill -9 of workers that write to MongoDB (needs: ${howToAddMongo})`;

describe.skipIf(missingMongo())(title, () => {
  const database = `milepost_kills_${process.pid}`;
  let server: MongoServer;

  beforeAll(async () => {
    server = await new MongoServer().start();
  }, 60_000);
  afterAll(async () => {
    await server?.db(database).dropDatabase();
    await server?.stop();
    server?.discard();
  });

  test(
    `${kills} times`,
    async () => {
      // FerretDB looks through all it has for those that are there already
      await killWorkers(server.urlOf(database), kills, async () => {}, 100);
      const offsets = await server.db(database).collection("milepost_offsets").find().toArray();
      const positions = server.db(database).collection("positions");
      let all = 0;
      for (const { partition, next_offset: next } of offsets) {
        const of = await positions
          .find({ k_partition: partition }, { projection: { k_offset: 1 } })
          .toArray();
        const found = of.map(({ k_offset: offset }) => offset as number).sort((a, b) => a - b);
        // what a killed worker wrote beyond is written again by the next one, as the same documents
        expect(found).toEqual(found.map((_, i) => i));
        expect(found.length).toBeGreaterThanOrEqual(next);
        all += next;
      }
      expect(all).toBeGreaterThan(0);
    },
    kills * 20_000 + 60_000,
  );
});
