import { getPentagons, latLngToCell } from "h3-js";
import { expect, test } from "vitest";
import { parseCell, parseChannel } from "../../src/live/channel-name.ts";

const cell = latLngToCell(12.97, 77.59, 7);

test.each([
  ["driver:42", "driver"],
  ["driver:a:b", "driver"],
  ["driver:ключ", "driver"],
  [`driver:${"x".repeat(128)}`, "driver"],
  ["trip:airport run, 7:30", "trip"],
  ["trip:a/b", "trip"],
  [`cell:${cell}`, "cell"],
  [`cell:${latLngToCell(0, 0, 4)}`, "cell"],
  [`cell:${latLngToCell(0, 0, 9)}`, "cell"],
  [`cell:${getPentagons(6)[3]}`, "cell"],
  ["bbox:77,12,78,13", "bbox"],
  ["bbox:-180,-90,180,90", "bbox"],
  ["bbox:179.5,-1,-179.5,1", "bbox"],
  ["bbox:77.123456789012345,12,78,13.5", "bbox"],
])("%s", (name, kind) => {
  expect(parseChannel(name)).toMatchObject({ kind, name });
});

test.each([
  ["driver:", "malformed"],
  ["driver:a/b", "malformed"],
  ["driver:a+b", "malformed"],
  ["driver:a#b", "malformed"],
  ["driver:a\u0000", "malformed"],
  ["driver:\ud800", "malformed"],
  [`driver:${"x".repeat(129)}`, "malformed"],
  [`driver:${"к".repeat(65)}`, "malformed"],
  ["trip:", "malformed"],
  ["trip:\ud800", "malformed"],
  [`trip:${"x".repeat(129)}`, "malformed"],
  [`cell:${cell.toUpperCase()}`, "malformed"],
  [`cell:${latLngToCell(0, 0, 3)}`, "malformed"],
  [`cell:${latLngToCell(0, 0, 10)}`, "malformed"],
  ["cell:", "malformed"],
  ["cell:872830828ffffff0", "malformed"],
  ["cell:000000000000000", "malformed"],
  ["cell:ffffffffffffffff", "malformed"],
  ["bbox:", "malformed"],
  ["bbox:77,12,78", "malformed"],
  ["bbox:77,12,78,13,14", "malformed"],
  ["bbox:77,13,78,12", "malformed"],
  ["bbox:77,12,77,13", "malformed"],
  ["bbox:77,12,78,12", "malformed"],
  ["bbox:-181,12,78,13", "malformed"],
  ["bbox:77,-91,78,13", "malformed"],
  ["bbox:77,12,78,90.1", "malformed"],
  ["bbox:7e1,12,78,13", "malformed"],
  ["bbox: 77,12,78,13", "malformed"],
  ["bbox:77,12,78,13\n", "malformed"],
  ["bbox:NaN,12,78,13", "malformed"],
  ["bbox:77.,12,78,13", "malformed"],
  ["", "unknown"],
  ["driver", "unknown"],
  [":42", "unknown"],
  ["Driver:42", "unknown"],
  ["toString:1", "unknown"],
  ["$private:42", "unknown"],
])("%s is %s", (name, fault) => {
  expect(parseChannel(name)).toBe(fault);
});

test("a cell of other resolutions, where those are asked for", () => {
  const fine = latLngToCell(12.97, 77.59, 15);
  expect(parseCell(fine, 0, 15)?.contains(12.97, 77.59)).toBe(true);
  expect(parseCell(fine, 0, 14)).toBeNull();
});
