/** Pings for a gateway, over HTTP, and waiting until live tracking has seen them. */
import type { Gateway } from "../harness/gateway.ts";

export type Ping = { id: string; ts: number; lat: number; lon: number; [field: string]: unknown };

const PINGS_A_BODY = 1000;

export async function send(gateway: Gateway, pings: Ping[]): Promise<void> {
  await post(gateway, pings);
  await caughtUp(gateway);
}

/** Resolves when they are in the log. */
export async function post(gateway: Gateway, pings: Ping[]): Promise<void> {
  for (let i = 0; i < pings.length; i += PINGS_A_BODY) {
    const body = JSON.stringify(pings.slice(i, i + PINGS_A_BODY));
    const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest`;
    const answer = await fetch(url, { method: "POST", body });
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    const { rejected } = (await answer.json()) as { rejected: unknown[] };
    if (rejected.length > 0) throw new Error(`rejected: ${JSON.stringify(rejected[0])}`);
  }
}

/** Resolves when live tracking has looked at everything in the log. */
export async function caughtUp(gateway: Gateway): Promise<void> {
  for (;;) {
    const lag = await gateway.metric("milepost_live_lag_records");
    const end = await gateway.metric("milepost_high_watermark", 'topic="positions"');
    const pings = await gateway.metric("milepost_live_pings_total");
    if (lag === 0 && pings >= end) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const urlOf = ({ ports }: Gateway, path: string): string =>
  `http://127.0.0.1:${ports.http}${path}`;

/** Status and JSON of an answer. */
export async function get(
  gateway: Gateway,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: any; headers: Headers }> {
  const answer = await fetch(urlOf(gateway, path), { headers });
  const text = await answer.text();
  const isJson = /json/.test(answer.headers.get("content-type") ?? "");
  return { status: answer.status, body: isJson ? JSON.parse(text) : text, headers: answer.headers };
}
