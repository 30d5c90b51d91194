import { join } from "node:path";
import { parquetFolder } from "./parquet-dir.ts";

/** From the gateway's ready line; `http` is null with `--live off`. */
export type Ports = {
  mqtt: number;
  device: number;
  http: number | null;
  kafka: number;
  admin: number;
};
type Recipe = { title: string; command: string };

const place = `"lat":12.9716,"lon":77.5946`;

/**
 * A line to copy for each kind of user: what they can do with this gateway at once. `node` runs a
 * Node that has a WebSocket, which the one on the user's PATH may not.
 */
export function recipes(ports: Ports, dataDir: string, node: string): Recipe[] {
  const devices = `http://127.0.0.1:${ports.device}`;
  const ping = `'{"timestamp":'$(date +%s)',${place}}'`;
  const server = ports.admin === 9600 ? "" : ` --server 127.0.0.1:${ports.admin}`;
  const kafka = `127.0.0.1:${ports.kafka}`;
  const kafkaServer = ports.kafka === 9092 ? "" : ` --server ${kafka}`;
  const dir = dataDir === "./data" ? "" : ` --dir ${join(dataDir, parquetFolder)}`;
  const env = ports.kafka === 9092 ? "" : `KAFKA=${kafka} `;
  const script =
    `const s=new WebSocket("ws://127.0.0.1:${ports.device}/v1/ingest?driver=me");` +
    `s.onopen=()=>s.send(JSON.stringify({ts:Date.now(),${place}}));` +
    `s.onmessage=m=>{console.log(m.data);s.close()}`;
  return [
    {
      title: "A tracker, over MQTT",
      command: `mosquitto_pub -p ${ports.mqtt} -q 1 -t fleet/me/position -m ${ping}`,
    },
    { title: "A tracker, over WebSocket", command: `${node} -e '${script}'` },
    {
      title: "Anything that speaks HTTP",
      command: `curl -d ${ping} '${devices}/v1/ingest?driver=me'`,
    },
    {
      title: `A phone with OwnTracks: HTTP mode, URL ${devices}/pub`,
      command:
        `curl -d '{"_type":"location","tst":'$(date +%s)',"lat":12.9716,"lon":77.5946,"vel":36}' ` +
        `'${devices}/pub?u=me&d=phone'`,
    },
    ...(ports.http === null ? [] : riderRecipes(`http://127.0.0.1:${ports.http}`)),
    {
      title: "Data teams: each ping as it comes, with any Kafka client or without one",
      command:
        `kcat -b ${kafka} -C -t positions -o end\n` +
        `    node bin/milepost consume positions --json${kafkaServer}`,
    },
    {
      title: "Data teams: SQL over Parquet files, which grow meanwhile",
      command:
        `node bin/milepost query "SELECT id, count(*) AS pings, ` +
        "round(avg(speed) * 3.6, 1) AS kmh " +
        `FROM positions GROUP BY id ORDER BY pings DESC LIMIT 10"${dir}`,
    },
    {
      title: "Services: fares of the trips; also analytics, notify, and booking, lab, data",
      command: `${env}npm run example fare`,
    },
    {
      title: "Who reads, and how far behind they are",
      command:
        `node bin/milepost groups list${server}\n` +
        `    node bin/milepost groups describe fare${server}`,
    },
    {
      title: "Operators: Prometheus",
      command: `curl http://127.0.0.1:${ports.admin}/metrics`,
    },
    {
      title: "What the log holds now, and every record of it once this is stopped",
      command:
        `node bin/milepost topics describe positions${server}\n` +
        `    node bin/milepost dump positions --data-dir ${dataDir}`,
    },
  ];
}

function riderRecipes(riders: string): Recipe[] {
  return [
    {
      title: "Rider apps follow a driver: SSE here, Centrifugo at /connection/websocket",
      command: `curl -N '${riders}/v1/stream?channel=driver:me'`,
    },
    {
      title: "Who is near",
      command: `curl '${riders}/v1/drivers?near=77.5946,12.9716&radius=2000&limit=5'`,
    },
  ];
}
