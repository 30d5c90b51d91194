import { owntracksToPing } from "../codec/owntracks.ts";
import { isDriverId } from "../codec/rewrite.ts";
import { answerWith, type Call } from "./exchange.ts";
import type { Source } from "./intake-types.ts";

/**
 * `POST /pub?u=&d=` as OwnTracks sends it, or with the names in `X-Limit-U` and `X-Limit-D`. The
 * answer is a list of commands, always empty, also for a message that is rejected: the app would
 * send it again for ever.
 */
export function takeOwntracks({ exchange, head, params, body, intake }: Call): void {
  const user = params.get("u") ?? head.limitU;
  const device = params.get("d") ?? head.limitD;
  const driver = `${user}:${device}`;
  if (user === "" || device === "" || !isDriverId(driver)) {
    return exchange.error(400, "bad_id", "u= and d= must name the user and the device");
  }
  const source: Source = {
    transport: "http",
    dialect: "owntracks",
    driver,
    identity: Buffer.from(driver),
    memory: null,
  };
  const done = answerWith(exchange, () => "[]");
  const ping = owntracksToPing(body);
  if (ping === "event") intake.event(body, source, done);
  else if (typeof ping === "string") intake.reject(body, source, ping, done);
  else intake.object(ping, source, done);
}
