/**
 * What serves one API key. A file in `handlers/` ends in one of these; `apis.ts` lists them, and
 * ApiVersions advertises the list.
 */
import { MilepostError } from "../model/errors.ts";
import { type AnyApi, readRequest, type RequestOf, type ResponseOf } from "../wire/api.ts";
import { E } from "../wire/errors.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";
import { failure } from "./failure.ts";
import type { Services } from "./services.ts";

/** One client connection, as handlers see it. */
export type Peer = {
  /** Address of the client. */
  readonly host: string;
  /** What the client is told to connect to: `--advertise`, or the address it connected to. */
  readonly advertised: { host: string; port: number };
  /**
   * Aborted once the client has gone or sent its last request, or the node stops. Whatever waits
   * for its sake answers at once with what there is; the answer is sent if that can be.
   */
  readonly closed: AbortSignal;
  /** Topics it made by asking for them, within the minute that began at `sinceMs`. */
  readonly autoCreated: { sinceMs: number; topics: number };
  /** Bytes that an answer may hold now: the fewer, the more answers wait for their clients. */
  answerBytesMax(): number;
};

export type Context = {
  readonly services: Services;
  readonly peer: Peer;
  readonly version: number;
  readonly clientId: string | null;
  /** For the operator: a fault of ours, of which the client only gets a code. */
  fault(error: unknown): void;
};

export type Handler = {
  readonly api: AnyApi;
  /** Requests of this API overlap on a connection; answers keep their order all the same. */
  readonly overlaps: boolean;
  /**
   * Resolves to false where the protocol has no answer (acks=0). Rejects with `Malformed`, with
   * `Hangup`, or, after a fault of ours that it could not put into an answer, with anything else:
   * the connection closes.
   */
  handle(request: Reader, response: Writer, context: Context): Promise<boolean>;
};

/** The connection closes: the only answer there is where the protocol has none (acks=0). */
export class Hangup extends Error {}

/**
 * A handler of decoded requests. It answers errors in the response; it throws for a fault only,
 * which `refuse` puts into an answer (by default as `failure.ts` does). Null from `handle`: the
 * protocol has no answer; from `refuse`: the connection closes.
 */
export function serve<A extends AnyApi>(
  api: A,
  handle: (
    request: RequestOf<A>,
    context: Context,
  ) => ResponseOf<A> | null | Promise<ResponseOf<A> | null>,
  options: {
    overlaps?: boolean;
    refuse?: (request: RequestOf<A>, errorCode: number, version: number) => ResponseOf<A> | null;
  } = {},
): Handler {
  const refuse =
    options.refuse ??
    ((request, errorCode, version) =>
      failure(api.responseFields, version, request, errorCode) as ResponseOf<A> | null);
  return {
    api,
    overlaps: options.overlaps ?? false,
    async handle(reader, writer, context) {
      const { version } = context;
      const request = readRequest(api, version, reader);
      let response: ResponseOf<A> | null;
      try {
        response = await handle(request, context);
      } catch (error) {
        if (error instanceof Hangup) throw error;
        const code = error instanceof MilepostError ? error.kafka : E.UNKNOWN_SERVER_ERROR;
        response = refuse(request, code, version);
        if (response === null) throw error;
        context.fault(error);
      }
      if (response === null) return false;
      api.response(version).write(writer, response);
      return true;
    },
  };
}
