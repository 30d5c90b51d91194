import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { runFleet } from "../../devices/fleet.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { missing } from "../setup/parts.ts";
import { launch, openMap, pick } from "./browser.ts";

// A browser without a graphics card, on machines that may be busy.
vi.setConfig({ testTimeout: 150_000, hookTimeout: 60_000 });

const DRIVERS = 24;
/** Where gliding is not what is tested: less to draw. */
const still = { reducedMotion: "reduce" } as const;
const origin = (): string => `127.0.0.1:${gateway.ports.http}`;
const address = (hash = ""): string => `http://${origin()}/${hash}`;

let gateway: Gateway;
let browser: Browser;
const fleet = new AbortController();
let driving: Promise<unknown> = Promise.resolve();

/** The simulated city's drivers, until all tests are done. */
function drive(): void {
  const { mqtt, device } = gateway.ports;
  const ports = { mqtt: `mqtt://127.0.0.1:${mqtt}`, ws: `ws://127.0.0.1:${device}` };
  const who = { drivers: DRIVERS, hz: 2, transport: "both", city: "blr", seed: 1 } as const;
  const how = { qos: 1, batch: 1, seconds: null, ledger: null } as const;
  driving = runFleet({ ...who, ...how, ...ports }, fleet.signal);
}

describe.skipIf(missing("chromium"))("the live map in Chromium", () => {
  beforeAll(async () => {
    [gateway, browser] = await Promise.all([startGateway(), launch()]);
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });
  afterAll(async () => {
    fleet.abort();
    await driving;
    await browser?.close();
    await gateway?.stop();
  });

  test("says how to begin, until the first driver is there", async () => {
    const { page } = await openMap(browser, address());
    await page.getByRole("heading", { name: "No drivers yet" }).waitFor();
    expect(await page.locator("#empty").textContent()).toContain("npm start");
    drive();
    await page.locator("#empty").waitFor({ state: "hidden" });
    await page.waitForFunction((n) => milepostMap.drivers === n, DRIVERS);
  });

  test("drivers move on it, and all of it comes from the gateway", async () => {
    const { page, requests, complaints } = await openMap(browser, address());
    await page.waitForFunction((n) => milepostMap.inView === n, DRIVERS);
    expect(await page.evaluate(() => milepostMap.mode)).toBe("drivers");
    const moved = await page.waitForFunction(() => {
      const seen = ((globalThis as any).seen ??= new Map<string, number>());
      for (const id of milepostMap.ids()) {
        const { lon, lat } = milepostMap.placeOf(id)!;
        if (seen.has(id) && seen.get(id) !== lon + lat) return id;
        seen.set(id, lon + lat);
      }
      return null;
    });
    expect(await moved.jsonValue()).toMatch(/^blr-/);
    const frames = await page.evaluate(() => milepostMap.frames);
    await page.waitForFunction((before) => milepostMap.frames > before + 3, frames);
    await page.locator("#state[data-state=live]").waitFor();
    // the view is fitted to the drivers, and kept in the address
    await page.waitForFunction(() => location.hash.startsWith("#at="));
    expect(complaints).toEqual([]);
    const foreign = requests.filter((url) => !/^(blob|data):/.test(url));
    expect(foreign.filter((url) => new URL(url).host !== origin())).toEqual([]);
  });

  test("a driver is clicked: its figures, its last hour, and a trail that grows", async () => {
    const { page, complaints } = await openMap(browser, address());
    const id = await pick(page);
    expect(await page.getByRole("heading", { level: 2 }).first().textContent()).toBe(id);
    await page.waitForFunction(() => milepostMap.trail > 2);
    const trail = await page.evaluate(() => milepostMap.trail);
    await page.waitForFunction((before) => milepostMap.trail > before + 2, trail);
    for (const [figure, form] of [
      ["speed", /^\d+$/],
      ["heading", /^[NSEW]{1,2} \d+°$/],
      ["age", /^just now$|^\d+ s ago$/],
      ["battery", /^\d+ %$/],
      ["distance", /^\d+\.\d km$/],
    ] as const) {
      expect(await page.locator(`#${figure}`).textContent(), figure).toMatch(form);
    }
    expect(await page.evaluate(() => location.hash)).toContain(`driver=${id}`);
    // whoever gets the address sees the same
    await page.reload();
    await page.waitForFunction((who) => (globalThis as any).milepostMap?.selected === who, id);
    await page.keyboard.press("Escape");
    await page.locator("#driver").waitFor({ state: "hidden" });
    expect(complaints).toEqual([]);
  });

  test("a driver is searched and followed, until the map is dragged", async () => {
    const { page, complaints } = await openMap(browser, address("#at=3/0/0"), still);
    await page.waitForFunction(() => milepostMap.connection === "live");
    await page.keyboard.press("/");
    await page.keyboard.type("nobody");
    await page.keyboard.press("Enter");
    await page.getByText("No driver “nobody” was ever seen").waitFor();
    const id = "blr-00003";
    await page.locator("#search-id").fill(id);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => milepostMap.following);
    expect(await page.evaluate(() => milepostMap.selected)).toBe(id);
    const begin = await page.evaluate((who) => milepostMap.placeOf(who)!, id);
    const end = await page.waitForFunction(
      ([who, lon, lat]) => {
        const at = milepostMap.placeOf(who as string)!;
        return at.lon !== lon || at.lat !== lat ? at : null;
      },
      [id, begin.lon, begin.lat] as const,
    );
    const at = (await end.jsonValue())!;
    expect(Math.hypot(at.x - begin.x, at.y - begin.y), "stays where it was").toBeLessThan(40);
    // only what is around the view is subscribed
    await page.waitForFunction((n) => milepostMap.drivers < n, DRIVERS);
    await page.mouse.move(700, 420);
    await page.mouse.down();
    await page.mouse.move(600, 320, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(() => !milepostMap.following);
    expect(await page.evaluate(() => milepostMap.selected)).toBe(id);
    // the browser itself complains of the look-up that found nobody
    expect(complaints.filter((text) => !/status of 404/.test(text))).toEqual([]);
  });

  test("from far away drivers are counted, by cell", async () => {
    const { page, complaints } = await openMap(browser, address("#at=6/12.97/77.59"), still);
    await page.waitForFunction((n) => milepostMap.inView === n, DRIVERS);
    expect(await page.evaluate(() => milepostMap.mode)).toBe("density");
    await page.getByText(/drivers in a cell/).waitFor();
    const box = await page.evaluate(() => milepostMap.box);
    await page.getByRole("button", { name: "Show all drivers" }).click();
    await page.waitForFunction(() => milepostMap.mode === "drivers");
    await page.waitForFunction((before) => milepostMap.box !== before, box);
    await page.waitForFunction((n) => milepostMap.inView === n, DRIVERS);
    expect(complaints).toEqual([]);
  });

  test("on a phone: a sheet from below, everything large enough for a finger", async () => {
    const phone = { viewport: { width: 390, height: 700 }, hasTouch: true, isMobile: true };
    const { page, complaints } = await openMap(browser, address(), {
      ...phone,
      ...still,
      colorScheme: "light",
    });
    await page.waitForFunction((n) => milepostMap.inView === n, DRIVERS);
    expect(await page.locator("html").getAttribute("data-theme")).toBe("light");
    const tooSmall = () =>
      page.evaluate(() =>
        [...document.querySelectorAll("button, input")]
          .filter((control) => control.checkVisibility())
          .map((control) => ({ id: control.id, box: control.getBoundingClientRect() }))
          .filter(({ box }) => box.width < 44 || box.height < 44)
          .map(({ id }) => id),
      );
    expect(await tooSmall()).toEqual([]);
    await page.getByRole("button", { name: "Dark colours" }).tap();
    expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");
    await pick(page, "tap");
    const sheet = (await page.locator("#driver").boundingBox())!;
    expect([sheet.x, sheet.width, sheet.y + sheet.height]).toEqual([0, 390, 700]);
    expect(await tooSmall()).toEqual([]);
    await page.getByRole("button", { name: "Follow" }).tap();
    await page.waitForFunction(() => milepostMap.following);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    expect(complaints).toEqual([]);
  });

  test("a gateway that is killed comes back, and so does everything on the map", async () => {
    const { page, complaints } = await openMap(browser, address(), still);
    await page.waitForFunction((n) => milepostMap.inView === n, DRIVERS);
    const id = await pick(page);
    await page.waitForFunction(() => milepostMap.trail > 2);
    const trail = await page.evaluate(() => milepostMap.trail);
    await gateway.kill();
    await page.locator("#state[data-state=reconnecting]").waitFor();
    expect(await page.evaluate(() => milepostMap.drivers), "they stay").toBe(DRIVERS);
    await gateway.start();
    await page.locator("#state[data-state=live]").waitFor();
    const updates = await page.evaluate(() => milepostMap.updates);
    await page.waitForFunction((before) => milepostMap.updates > before + 50, updates);
    await page.waitForFunction((before) => milepostMap.trail > before, trail);
    expect(await page.evaluate(() => milepostMap.selected)).toBe(id);
    expect(await page.evaluate(() => milepostMap.drivers)).toBe(DRIVERS);
    // the browser itself complains of each try to connect
    expect(complaints.filter((text) => !/ERR_CONNECTION|WebSocket/.test(text))).toEqual([]);
  });

  test("more drivers than are sent one by one are counted by the gateway", async () => {
    const crowd = Array.from({ length: 5200 }, (_, i) => {
      const [lat, lon] = [50 + (i % 72) / 20, 8 + Math.floor(i / 72) / 20];
      return { id: `crowd-${i}`, ts: Date.now(), lat, lon };
    });
    const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest`;
    for (let i = 0; i < crowd.length; i += 1000) {
      const body = JSON.stringify(crowd.slice(i, i + 1000));
      expect((await fetch(url, { method: "POST", body })).status).toBe(200);
    }
    const { page, complaints } = await openMap(browser, address("#at=5/51.8/9.8"), still);
    await page.waitForFunction((n) => milepostMap.inView === n, crowd.length);
    await page.getByText("Too many to show one by one").waitFor();
    expect(await page.evaluate(() => [milepostMap.mode, milepostMap.box])).toEqual([
      "density",
      null,
    ]);
    // closer there are fewer, and each is shown
    await page.goto(address("#at=11/51.8/9.8"));
    await page.reload();
    await page.waitForFunction(() => (globalThis as any).milepostMap?.mode === "drivers");
    await page.waitForFunction(() => milepostMap.inView > 10 && milepostMap.box !== null);
    expect(complaints).toEqual([]);
  });

  test("of finer cells nothing is left after zooming out", async () => {
    const parked = Array.from({ length: 400 }, (_, i) => {
      return { id: `parked-${i}`, ts: Date.now(), lat: 20 + (i % 20) / 20, lon: -20 + i / 400 };
    });
    const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest`;
    expect((await fetch(url, { method: "POST", body: JSON.stringify(parked) })).status).toBe(200);
    const clip = { x: 380, y: 150, width: 250, height: 250 };
    const { page } = await openMap(browser, address("#at=8/20.5/-19.5"), still);
    const settled = async () => {
      await page.waitForFunction((n) => milepostMap.inView === n, parked.length);
      const frames = await page.evaluate(() => milepostMap.frames);
      await page.waitForFunction((before) => milepostMap.frames > before + 5, frames);
      return await page.screenshot({ clip });
    };
    const near = await settled();
    await page.getByRole("button", { name: "Zoom out" }).click();
    await page.waitForFunction(() => location.hash.startsWith("#at=7.00/"));
    const zoomedOut = await settled();
    await page.reload();
    await page.waitForFunction(() => "milepostMap" in globalThis);
    const fresh = await settled();
    expect(zoomedOut.equals(near)).toBe(false);
    expect(zoomedOut.equals(fresh), "the same picture as of a fresh page").toBe(true);
  });
});
