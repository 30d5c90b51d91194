/** Rows of the way up: a gateway in front of Apache Kafka, both on this machine. */
import { type Contender, rates } from "./contender.ts";
import { devices } from "./generator.ts";
import type { Row } from "./rows.ts";
import { missing, type Server, start } from "./servers.ts";

/** A broker and a gateway before it, which stay up through all rounds. */
function behind(durability: "flushed" | "mirrored"): Contender {
  let kafka: Server | null = null;
  let gateway: Server | null = null;
  return {
    name: durability,
    missing: () => missing("milepost") ?? missing("kafka"),
    open: async (context) => {
      kafka = await start("kafka", context);
      const uplink = ["--uplink", `127.0.0.1:${kafka.kafka}`, "--durability", durability];
      const serveArguments = [...context.serveArguments, ...uplink];
      gateway = await start("milepost", { ...context, serveArguments });
    },
    run: async ({ seconds }) => {
      const { mqtt: port, pid } = gateway as Server;
      const load = { to: "mqtt" as const, port, pid, devices: 100, window: 1024, seconds };
      const { figures, ...rest } = rates(await devices(load));
      const lag = await lagOf(gateway as Server);
      return { ...rest, figures: { ...figures, "waits for Kafka": lag } };
    },
    close: async () => {
      await gateway?.stop();
      await kafka?.stop();
      gateway = kafka = null;
    },
    pids: () => [kafka, gateway].flatMap((server) => (server === null ? [] : [server.pid])),
  };
}

/** Records that were taken and are not in the cluster when the devices have stopped. */
async function lagOf({ admin }: Server): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  return Number(/^milepost_uplink_lag_records (\S+)$/m.exec(text)?.[1]);
}

export const uplinkRows: Row[] = [
  {
    name: "uplink",
    title: "MQTT QoS 1, 100 sockets pipelined, in front of Apache Kafka on the same machine",
    contenders: [behind("mirrored"), behind("flushed")],
    targets: [{ of: "mirrored", figure: "msg/s", atLeast: 100_000 }],
  },
];
