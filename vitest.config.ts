import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Every file may start gateways and use real disks, each in its own process. Many wait for a
    // clock of some protocol: four at a time keep two cores busy.
    pool: "forks",
    maxWorkers: 4,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
