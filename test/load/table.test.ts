import { describe, expect, it } from "vitest";
import type { Run } from "../../load/contender.ts";
import type { Row } from "../../load/rows.ts";
import { judge, median, table } from "../../load/table.ts";

const run = (rate: number, faults: string[] = []): Run => ({
  figures: { "msg/s": rate },
  faults,
  raw: null,
});

describe("the bench table", () => {
  it("takes the middle, or the mean of the two middles", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  it("judges the median of per-round ratios, not the ratio of medians", () => {
    const runs = new Map([
      ["milepost", [run(90), run(10), run(160)]],
      ["net", [run(100), run(20), run(100)]],
    ]);
    const target = { of: "milepost", figure: "msg/s", over: "net", atLeast: 0.8 };
    expect(judge([target], runs)).toEqual([
      { target: "milepost / net, msg/s ≥ 0.8", value: 0.9, reached: true },
    ]);
  });

  it("has no verdict on a contender that was not measured", () => {
    const target = { of: "milepost", figure: "msg/s", over: "mosquitto", atLeast: 1 };
    expect(judge([target], new Map([["milepost", [run(90)]]]))).toEqual([]);
  });

  it("says what was missed and what went wrong", () => {
    const row: Row = {
      name: "row",
      title: "a row",
      contenders: [],
      targets: [{ of: "milepost", figure: "msg/s", atLeast: 600_000 }],
    };
    const text = table(row, new Map([["milepost", [run(123_456, ["3 unacked"])]]]));
    expect(text).toContain("! milepost: 3 unacked");
    expect(text).toContain("MISSED   milepost, msg/s ≥ 600000: 123 500");
  });
});
