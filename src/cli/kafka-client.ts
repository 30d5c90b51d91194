/** What the commands that speak to a Kafka port share: how they connect, and what errors mean. */
import { GenericError, type Base, type BaseOptions } from "@platformatic/kafka";
import { isTemporary, isUnreachable, reasonOf } from "../uplink/kafka-errors.ts";
import { CommandFailure } from "./failure.ts";
import { defaultKafkaServer, parseServer } from "./server-address.ts";

/** A gateway that restarts, or whose disk is full for a moment, may take so long. */
export const patienceMs = 60_000;
/** Between two tries. */
export const retryMs = 500;

/** Retries are the commands' own: they know what has been done already. */
export function clientOptions(server: string): BaseOptions {
  return {
    clientId: "milepost-cli",
    bootstrapBrokers: [parseServer(server, defaultKafkaServer)],
    connectTimeout: 5000,
    // longer than the gateway itself waits for a disk
    timeout: 30_000,
    requestTimeout: 40_000,
    retries: 0,
  };
}

export function unreachable(server: string, error: unknown): CommandFailure {
  const { host, port } = parseServer(server, defaultKafkaServer);
  return new CommandFailure(
    `no gateway answers at ${host}:${port} (${reasonOf(error)}); ` +
      "start one with `milepost serve`, or name its Kafka port with --server HOST:PORT " +
      "(behind --uplink the cluster's)",
  );
}

/**
 * How many partitions it has; a topic that is not there, or no gateway, is a failure. One that is
 * made by asking for it may take `createMs` to appear.
 */
export async function findTopic(
  client: Base,
  name: string,
  server: string,
  createMs = 0,
): Promise<number> {
  const beganMs = performance.now();
  for (;;) {
    try {
      const { topics } = await client.metadata({ topics: [name] });
      const topic = topics.get(name);
      if (topic !== undefined) return topic.partitionsCount;
    } catch (error) {
      if (isUnreachable(error)) throw unreachable(server, error);
      const unknown = (error as Error).message.startsWith("Unknown topic");
      if (!unknown && !isTemporary(error)) throw new CommandFailure(`${name}: ${reasonOf(error)}`);
    }
    if (performance.now() - beganMs >= createMs) throw missing(name);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

function missing(name: string): CommandFailure {
  return new CommandFailure(
    name.startsWith("__")
      ? `${name}: internal topics are not for clients; \`milepost dump\` reads them`
      : `no such topic: ${name}; \`milepost topics list\` names them`,
  );
}

/** What the client says of the gateway, for people; faults of the program stay what they are. */
export function asFailure(error: unknown, what: string): Error {
  if (!GenericError.isGenericError(error as Error)) return error as Error;
  return new CommandFailure(`${what}: ${reasonOf(error)}`);
}

/** Tries again for a while where that may help. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isTemporary(error) || performance.now() - beganMs > patienceMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}
