import { osmandJsonToPing, osmandToPing } from "../codec/osmand.ts";
import { isDriverId } from "../codec/rewrite.ts";
import type { ErrorCode } from "../model/errors.ts";
import { answerWith, type Call } from "./exchange.ts";
import { parseQuery } from "../lib/http-guard.ts";
import type { Source } from "./intake-types.ts";

const OPEN_BRACE = 0x7b;

/**
 * `GET|POST /osmand`: parameters in the query, in an urlencoded body, or in both; or the JSON of
 * newer clients. 200 with an empty body, also for a ping that is rejected: the client would send
 * it again for ever.
 */
export function takeOsmand({ exchange, head, params, body, intake }: Call): void {
  const isBodied = head.method === "POST" && body.length > 0;
  if (!isBodied && params.size === 0) {
    return exchange.error(400, "bad_request", "no parameters");
  }
  const ping = isBodied ? bodyToPing(params, body) : osmandToPing(params);
  const id = typeof ping === "string" ? null : ping.id;
  const driver = typeof id === "string" && isDriverId(id) ? id : null;
  const source: Source = {
    transport: "http",
    dialect: "osmand",
    driver,
    identity: driver === null ? null : Buffer.from(driver),
    memory: null,
  };
  const done = answerWith(exchange, () => "");
  if (typeof ping === "string") intake.reject(body, source, ping, done);
  else intake.object(ping, source, done);
}

function bodyToPing(
  params: Map<string, string>,
  body: Uint8Array,
): Record<string, unknown> | ErrorCode {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString().trim();
  if (text.charCodeAt(0) === OPEN_BRACE) return osmandJsonToPing(body);
  const form = parseQuery(text);
  return form === null ? "bad_json" : osmandToPing([...params, ...form]);
}
