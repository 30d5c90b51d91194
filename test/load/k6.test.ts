import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const installed = spawnSync("k6", ["version"]).error === undefined;
const title = installed ? "k6 scripts" : "k6 scripts: no k6 (go install go.k6.io/k6@v1.8.1)";

describe.skipIf(!installed)(title, () => {
  it.each(["ws-ingest.js", "mqtt-ws.js"])("%s: parses, VUS sets the drivers", (name) => {
    const script = fileURLToPath(new URL(`../../load/k6/${name}`, import.meta.url));
    const options = JSON.parse(
      execFileSync("k6", ["inspect", "-e", "VUS=7", script], { encoding: "utf8" }),
    );
    expect(options.scenarios.drivers).toMatchObject({ vus: 7, iterations: 1 });
    expect(options.thresholds.checks).toEqual(["rate==1"]);
  });

  it("riders.js: parses, RIDERS and DRIVERS set who takes part", () => {
    const script = fileURLToPath(new URL("../../load/k6/riders.js", import.meta.url));
    const settings = ["-e", "RIDERS=7", "-e", "DRIVERS=3"];
    const options = JSON.parse(
      execFileSync("k6", ["inspect", ...settings, script], { encoding: "utf8" }),
    );
    expect(options.scenarios).toMatchObject({ riders: { vus: 7 }, drivers: { vus: 3 } });
    expect(Object.keys(options.thresholds)).toEqual(["age_ms", "checks", "publications"]);
  });
});
