/**
 * What serves one API key. A file in `handlers/` ends in one of these; `apis.ts` lists them, and
 * ApiVersions advertises the list.
 */
import { type AnyApi, readWhole, type RequestOf, type ResponseOf } from "../wire/api.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";
import type { Services } from "./services.ts";

/** One client connection, as handlers see it. */
export type Peer = {
  /** Address of the client. */
  readonly host: string;
  /** What the client is told to connect to: `--advertise`, or the address it connected to. */
  readonly advertised: { host: string; port: number };
  /** Aborts when the connection closes: whatever waits for its sake may stop. */
  readonly closed: AbortSignal;
  /** Topics it made by asking for them, within the minute that began at `sinceMs`. */
  readonly autoCreated: { sinceMs: number; topics: number };
};

export type Context = {
  readonly services: Services;
  readonly peer: Peer;
  readonly version: number;
  readonly clientId: string | null;
};

export type Handler = {
  readonly api: AnyApi;
  /** Requests of this API overlap on a connection; answers keep their order all the same. */
  readonly overlaps: boolean;
  /** Resolves to false where the protocol has no answer (acks=0). */
  handle(request: Reader, response: Writer, context: Context): Promise<boolean>;
};

/** A handler of decoded requests. It answers errors in the response; it throws for a fault only. */
export function serve<A extends AnyApi>(
  api: A,
  handle: (
    request: RequestOf<A>,
    context: Context,
  ) => ResponseOf<A> | null | Promise<ResponseOf<A> | null>,
  options: { overlaps?: boolean } = {},
): Handler {
  return {
    api,
    overlaps: options.overlaps ?? false,
    async handle(reader, writer, context) {
      const request = readWhole(api.request(context.version), reader) as RequestOf<A>;
      const response = await handle(request, context);
      if (response === null) return false;
      api.response(context.version).write(writer, response);
      return true;
    },
  };
}
