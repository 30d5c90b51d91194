/** Runs kcat, as it is installed. */
import { spawn, type ChildProcess } from "node:child_process";
import type { ClientRecord } from "./broker.ts";

export type Kcat = { code: number | null; stdout: Buffer; stderr: string };

/** Until it ends by itself; one that hangs is killed. */
export async function kcat(
  address: string,
  args: string[],
  input: string | Buffer = "",
): Promise<Kcat> {
  const child = spawn("kcat", ["-b", address, ...args]);
  const out: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (b) => out.push(b));
  child.stderr.on("data", (b) => (stderr += String(b)));
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const hung = setTimeout(() => child.kill("SIGKILL"), 25_000);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearTimeout(hung);
  return { code, stdout: Buffer.concat(out), stderr };
}

/** Sends one record a line, `KEY:VALUE`. */
export async function produce(
  address: string,
  topic: string,
  lines: string[],
  args: string[] = [],
): Promise<void> {
  const input = lines.map((line) => `${line}\n`).join("");
  const ended = await kcat(address, ["-P", "-t", topic, "-K", ":", ...args], input);
  if (ended.code !== 0) throw new Error(`kcat: ${ended.stderr}`);
}

/** Lengths before bytes, so that any bytes come through; -1 is null. */
const format = "%p %o %T %K %S %h\n%k%s\n";

/** What `kcat -C` gives for these arguments. */
export async function consume(
  address: string,
  topic: string,
  args: string[],
): Promise<ClientRecord[]> {
  const soon = ["-X", "fetch.wait.max.ms=50"];
  const ended = await kcat(address, ["-C", "-q", "-t", topic, "-f", format, ...soon, ...args]);
  if (ended.code !== 0) throw new Error(`kcat: ${ended.stderr}`);
  return records(ended.stdout);
}

function records(bytes: Buffer): ClientRecord[] {
  const found: ClientRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf("\n", at);
    const [partition, offset, timestamp, keySize, valueSize, ...rest] = bytes
      .toString("utf8", at, end)
      .split(" ");
    at = end + 1;
    const take = (size: number): Buffer | null => {
      if (size < 0) return null;
      at += size;
      return bytes.subarray(at - size, at);
    };
    const key = take(Number(keySize));
    const value = take(Number(valueSize));
    at += 1;
    found.push({
      partition: Number(partition),
      offset: Number(offset),
      timestamp: Number(timestamp),
      key,
      value,
      headers: headers(rest.join(" ")),
    });
  }
  return found;
}

/** `name=value,…`, where kcat writes a value that is null as `NULL`. */
function headers(csv: string): [string, Buffer | null][] {
  if (csv === "") return [];
  return csv.split(",").map((header) => {
    const at = header.indexOf("=");
    const value = header.slice(at + 1);
    return [header.slice(0, at), value === "NULL" ? null : Buffer.from(value)];
  });
}

/** `kcat -G`, until it is ended. */
export class KcatMember {
  readonly #child: ChildProcess;
  #stdout = "";
  #stderr = "";
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;

  constructor(address: string, group: string, topic: string, properties: string[] = []) {
    const own = ["auto.offset.reset=earliest", "session.timeout.ms=6000", ...properties];
    const settings = own.flatMap((property) => ["-X", property]);
    const args = ["-b", address, "-u", "-f", "%p %o %k %s\n", ...settings, "-G", group, topic];
    this.#child = spawn("kcat", args);
    this.#child.stdout?.on("data", (b) => (this.#stdout += String(b)));
    this.#child.stderr?.on("data", (b) => (this.#stderr += String(b)));
    this.ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", resolve);
    });
  }

  /** `PARTITION OFFSET KEY VALUE`, as they came. */
  lines(): string[] {
    return this.#stdout.split("\n").slice(0, -1);
  }

  /** The partitions of its last assignment; null before the first. */
  partitions(): number[] | null {
    const last = [...this.#stderr.matchAll(/rebalanced \(memberid [^)]*\): (\w+):(.*)/g)].at(-1);
    if (last === undefined) return null;
    if (last[1] !== "assigned") return [];
    return [...last[2].matchAll(/\[(\d+)\]/g)].map((m) => Number(m[1]));
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.ended;
  }
}
