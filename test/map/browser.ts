/** The map in a real Chromium, which has no graphics card to rely on. */
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import type { Shown } from "../../src/map/shown.ts";

declare global {
  /** In the page. */
  const milepostMap: Shown;
  const document: any;
  const location: { hash: string };
}

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  });

export type MapPage = { page: Page; requests: string[]; complaints: string[] };

/** A page with the map on it; what it asks for and what its console says is kept. */
export async function openMap(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<MapPage> {
  const context = await browser.newContext({ viewport: { width: 800, height: 500 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("websocket", (socket) => requests.push(socket.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  await page.goto(address);
  await page.waitForFunction(() => "milepostMap" in globalThis);
  return { page, requests, complaints };
}

/** Clicks, or taps, on a driver that nothing covers; its id. */
export async function pick(page: Page, how: "click" | "tap" = "click"): Promise<string> {
  const found = await page.waitForFunction(() => {
    for (const id of milepostMap.ids()) {
      const at = milepostMap.placeOf(id);
      if (at === null) continue;
      const hit = document.elementFromPoint(at.x, at.y);
      if (hit?.classList.contains("maplibregl-canvas")) return { x: at.x, y: at.y };
    }
    return null;
  });
  const at = (await found.jsonValue()) as { x: number; y: number };
  if (how === "tap") await page.touchscreen.tap(at.x, at.y);
  else await page.mouse.click(at.x, at.y);
  const selected = await page.waitForFunction(() => milepostMap.selected);
  return (await selected.jsonValue()) as string;
}
