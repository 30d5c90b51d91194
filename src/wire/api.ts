/** One request and its response: key, the versions that are served, and both tables. */
import { Malformed, type Reader } from "./reader.ts";
import { type Codec, type Fields, range, type Range, struct, type Values } from "./schema.ts";

export type Api<Q extends Fields = Fields, S extends Fields = Fields> = {
  key: number;
  name: string;
  /** Advertised, and decoded. */
  versions: Range;
  /** First version with compact types and tagged fields; Infinity: none. */
  flexibleFrom: number;
  requestFields: Q;
  responseFields: S;
  request(version: number): Codec<Values<Q>>;
  response(version: number): Codec<Values<S>>;
};

// oxlint-disable-next-line typescript/no-explicit-any -- a table holds all of them
export type AnyApi = Api<any, any>;
export type RequestOf<A> = A extends Api<infer Q, infer _S> ? Values<Q> : never;
export type ResponseOf<A> = A extends Api<infer _Q, infer S> ? Values<S> : never;

export function api<Q extends Fields, S extends Fields>(table: {
  key: number;
  name: string;
  versions: string;
  /** "9+"; null: no version is flexible. */
  flexible: string | null;
  request: Q;
  response: S;
}): Api<Q, S> {
  const { key, name } = table;
  const flexibleFrom = table.flexible === null ? Infinity : range(table.flexible).from;
  const perVersion = <F extends Fields>(fields: F): ((version: number) => Codec<Values<F>>) => {
    const type = struct(fields);
    const made: Codec<Values<F>>[] = [];
    return (version) => (made[version] ??= type.codec(version, version >= flexibleFrom));
  };
  return {
    key,
    name,
    versions: range(table.versions),
    flexibleFrom,
    requestFields: table.request,
    responseFields: table.response,
    request: perVersion(table.request),
    response: perVersion(table.response),
  };
}

/** A body, to its last byte. */
export function readWhole<T>(codec: Codec<T>, r: Reader): T {
  const value = codec.read(r);
  return atEnd(value, r);
}

/** As many as librdkafka is known to leave. */
const LEFT_BYTES_MAX = 3;

/**
 * A request's body. librdkafka leaves bytes behind some flexible ones, which Kafka does not look
 * at: 2.0 a second empty set of tagged fields (ListGroups), 2.16 three of the four bytes it had
 * for the length of an array that is null (Metadata of all topics).
 */
export function readRequest<A extends AnyApi>(api: A, version: number, r: Reader): RequestOf<A> {
  const request = api.request(version).read(r) as RequestOf<A>;
  if (version >= api.flexibleFrom && r.left <= LEFT_BYTES_MAX) r.skip(r.left);
  return atEnd(request, r);
}

function atEnd<T>(value: T, r: Reader): T {
  if (r.left !== 0) throw new Malformed(`${r.left} bytes after the end`);
  return value;
}
