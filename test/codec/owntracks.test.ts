import { describe, expect, test } from "vitest";
import { owntracksToPing } from "../../src/codec/owntracks.ts";
import { PingReader } from "../../src/codec/ping.ts";
import { now, outcome } from "./read.ts";

const reader = new PingReader();
function take(body: string): unknown {
  const ping = owntracksToPing(Buffer.from(body));
  if (typeof ping === "string") return ping;
  const accepted = reader.readObject(ping, now, Buffer.from("anna:phone"), null);
  return outcome(reader, accepted, Buffer.alloc(0));
}

const at = `"lat":12.97,"lon":77.59`;
const head = `{"id":"anna:phone","ts":${now},${at}`;

describe("OwnTracks", () => {
  test("a location as the Android app sends it", () => {
    const body =
      '{"_type":"location","BSSID":"c0:ff:ee","acc":12,"alt":920,"batt":57,"bs":1,"conn":"w",' +
      `"created_at":1763726401,"lat":12.97,"lon":77.59,"m":1,"tid":"an","tst":${now / 1000},` +
      '"vac":3,"vel":36,"cog":270}';
    expect(take(body)).toMatchObject({
      key: "anna:phone",
      flags: [],
      value:
        `${head},"speed":10,"heading":270,"accuracy":12,"altitude":920,"battery":0.57,` +
        '"BSSID":"c0:ff:ee","bs":1,"conn":"w","created_at":1763726401,"m":1,"tid":"an","vac":3}',
    });
  });

  const rows: [what: string, more: string, stored: string][] = [
    ["km/h with a remainder", '"vel":50', `${head},"speed":13.8889}`],
    ["unknown speed", '"vel":-1', `${head},"raw.speed":-1,"flags":["field"]}`],
    ["speed as text", '"vel":"9"', `${head},"raw.speed":"9","flags":["field"]}`],
    ["battery beyond 100 %", '"batt":101', `${head},"raw.battery":1.01,"flags":["field"]}`],
    ["battery unknown", '"batt":null', `${head},"raw.battery":null,"flags":["field"]}`],
    ["cog 360", '"cog":360', `${head},"heading":0}`],
    ["__proto__", '"__proto__":{"lat":1}', `${head},"__proto__":{"lat":1}}`],
  ];
  test.each(rows)("%s", (_what, more, stored) => {
    const body = `{"_type":"location","tst":${now / 1000},${at},${more}}`;
    expect(take(body)).toMatchObject({ value: stored });
  });

  const others: [body: string, result: unknown][] = [
    ['{"_type":"transition","event":"enter"}', "event"],
    ['{"_type":"lwt","tst":1}', "event"],
    ['{"_type":"encrypted","data":"x"}', "event"],
    ["", "bad_json"],
    ["{}", "bad_json"],
    ['{"_type":7}', "bad_json"],
    ["[]", "bad_json"],
    ['{"_type":"location"', "bad_json"],
    [`{"_type":"location","x":"${"x".repeat(9000)}"}`, "too_large"],
    [`{"_type":"location",${at}}`, { reason: "bad_time" }],
    [`{"_type":"location","tst":1}`, { reason: "bad_position" }],
    [`{"_type":"location","tst":${now / 1000},${at},"id":"x"}`, { reason: "wrong_identity" }],
  ];
  test.each(others)("%s", (body, result) => {
    expect(take(body)).toEqual(result);
  });
});
