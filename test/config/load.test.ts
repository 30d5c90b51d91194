import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Given } from "../../src/config/load.ts";
import { ConfigError, loadServeOptions, openPorts } from "../../src/config/load.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "milepost-config-"));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function load(given: Partial<Given> = {}) {
  return loadServeOptions({ flags: {}, env: {}, cwd, ...given });
}

function refusal(given: Partial<Given>): string {
  try {
    load(given);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  return "accepted";
}

test("the defaults are the documented ones", () => {
  const { options, file } = load();
  expect(file).toBeNull();
  expect(options.workers).toBeGreaterThanOrEqual(1);
  expect({ ...options, workers: 1 }).toEqual({
    dataDir: join(cwd, "data"),
    host: "127.0.0.1",
    adminHost: "127.0.0.1",
    advertise: null,
    mqttPort: 1883,
    devicePort: 8081,
    httpPort: 8080,
    kafkaPort: 9092,
    adminPort: 9600,
    workers: 1,
    durability: "flushed",
    uplink: null,
    regions: false,
    live: true,
    staleMs: 600_000,
    allowOrigin: [],
    diskMin: null,
    insecure: false,
  });
});

test("flags win over the environment over the file over the defaults", () => {
  writeFileSync(
    join(cwd, "milepost.toml"),
    "mqtt-port = 1\ndevice-port = 2\nadmin-port = 3\nregions = true\nlive = 'off'\n",
  );
  const { options, file } = load({
    flags: { mqttPort: "0", regions: "off" },
    env: { MILEPOST_MQTT_PORT: "11", MILEPOST_DEVICE_PORT: "12", MILEPOST_ADMIN_PORT: "" },
  });
  expect(file).toBe(join(cwd, "milepost.toml"));
  expect([options.mqttPort, options.devicePort, options.adminPort]).toEqual([0, 12, 3]);
  expect([options.regions, options.live, options.httpPort]).toEqual([false, false, 8080]);
});

test("the file: --config, then MILEPOST_CONFIG, then ./milepost.toml", () => {
  writeFileSync(join(cwd, "milepost.toml"), "mqtt-port = 1\n");
  writeFileSync(join(cwd, "b.toml"), "mqtt-port = 2\n");
  writeFileSync(join(cwd, "c.toml"), "mqtt-port = 3\n");
  const env = { MILEPOST_CONFIG: "b.toml" };
  expect(load({ config: "c.toml", env }).options.mqttPort).toBe(3);
  expect(load({ env }).options.mqttPort).toBe(2);
  expect(load().options.mqttPort).toBe(1);
  expect(refusal({ config: "none.toml" })).toContain(join(cwd, "none.toml"));
});

test("a relative path is relative to the file that names it, else to the working directory", () => {
  mkdirSync(join(cwd, "etc"));
  writeFileSync(join(cwd, "etc", "m.toml"), 'data-dir = "log"\n');
  const config = join("etc", "m.toml");
  expect(load({ config }).options.dataDir).toBe(join(cwd, "etc", "log"));
  const env = { MILEPOST_DATA_DIR: "log" };
  expect(load({ config, env }).options.dataDir).toBe(join(cwd, "log"));
  expect(load({ config, flags: { dataDir: "/abs" } }).options.dataDir).toBe("/abs");
});

test("durations, sizes, lists and switches", () => {
  const { options } = load({
    flags: { staleMs: "90s", allowOrigin: ["https://a.example,http://b:81/", "*"], regions: true },
    env: { MILEPOST_DISK_MIN: "1.5GiB", MILEPOST_LIVE: "OFF", MILEPOST_INSECURE: "1" },
  });
  expect(options.staleMs).toBe(90_000);
  expect(options.allowOrigin).toEqual(["https://a.example", "http://b:81", "*"]);
  expect(options.diskMin).toBe(1.5 * 2 ** 30);
  expect([options.regions, options.live, options.insecure]).toEqual([true, false, true]);
});

test.each([
  [{ mqttPort: "65536" }, "--mqtt-port: expected a port from 0 to 65535, not 65536"],
  [{ mqttPort: "-1" }, "--mqtt-port: expected a port"],
  [{ adminPort: "1e3" }, "--admin-port: expected a port"],
  [{ devicePort: "80 81" }, "--device-port: expected a port"],
  [{ workers: "0" }, "--workers: expected a number of threads from 1 to 256"],
  [{ workers: "two" }, "--workers: expected a number"],
  [{ staleMs: "10" }, "--stale: expected a duration such as 10m"],
  [{ staleMs: "0s" }, "--stale: expected a duration"],
  [{ diskMin: "1MiB" }, "--disk-min: expected a size such as 1GiB, at least 16MiB"],
  [{ diskMin: "lots" }, "--disk-min: expected a size"],
  [{ live: "maybe" }, "--live: expected on or off"],
  [{ dataDir: "" }, "--data-dir: expected a directory"],
  [{ host: "http://x" }, "--host: expected an IP address or a host name"],
  [{ allowOrigin: ["ftp//x"] }, "--allow-origin: expected origins such as"],
  [{ allowOrigin: ["https://x/path"] }, "--allow-origin: expected origins such as"],
  [{ durability: "mirrored" }, "mirrored needs an uplink"],
  [{ uplink: "kafka" }, "--uplink: expected brokers such as kafka-1:9092"],
  [{ uplink: "kafka:0" }, "--uplink: expected brokers"],
  [{ uplink: "a:1,,b:2" }, "--uplink: expected brokers"],
  [{ uplink: "a:1", durability: "replicated" }, "replicated needs a cluster"],
  [{ durability: "replicated" }, "replicated needs a cluster"],
  [{ durability: "replicated-flushed" }, "replicated-flushed needs a cluster"],
  [{ durability: "fsync" }, '--durability: expected logged, flushed or mirrored, not "fsync"'],
])("flags %o are refused", (flags, message) => {
  expect(refusal({ flags: flags as Given["flags"] })).toContain(message);
});

test.each([
  ["::1", "::1"],
  ["[::1]", "::1"],
  ["[2001:db8::5]", "2001:db8::5"],
  ["kafka-1.example.com", "kafka-1.example.com"],
])("--advertise %s is the host %s", (advertise, host) => {
  expect(load({ flags: { advertise } }).options.advertise).toBe(host);
});

test.each(["kafka-1:9092, kafka-2:9093", ["kafka-1:9092", "kafka-2:9093"]])(
  "--uplink %o makes mirrored possible",
  (uplink) => {
    const { options } = load({ flags: { uplink, durability: "mirrored" } });
    expect(options.uplink).toEqual(["kafka-1:9092", "kafka-2:9093"]);
    expect(options.durability).toBe("mirrored");
    expect(load({ flags: { uplink } }).options.durability).toBe("flushed");
  },
);

test.each(["[10.0.0.1]", "[::1", "::1]", "host:9092"])("--advertise %s is refused", (advertise) => {
  expect(refusal({ flags: { advertise } })).toContain("--advertise: expected an IP address");
});

test.each([
  ["mqtt-port = '1883'\n", 'mqtt-port: expected a port from 0 to 65535, not "1883"'],
  ["mqtt-port = 1.5\n", "mqtt-port: expected a port"],
  ["regions = 1\n", "regions: expected on or off, not 1"],
  ["stale = 600\n", "stale: expected a duration"],
  ["data-dir = ['x']\n", "data-dir: expected a directory"],
  ["allow-origin = [1]\n", "allow-origin: expected origins"],
  ["mqtt_port = 1\n", "unknown key mqtt_port; did you mean mqtt-port?"],
  ["data-dri = 'x'\n", "unknown key data-dri; did you mean data-dir?"],
  ["uplink = 9092\n", "uplink: expected brokers such as"],
  ["cluster-etcd = 'b:2379'\n", "unknown key cluster-etcd"],
  ["__proto__ = 1\n", "unknown key __proto__"],
  ["[serve]\nmqtt-port = 1\n", "unknown key serve"],
  ["mqtt-port = \n", "Invalid TOML"],
])("the file %j is refused by name", (text, message) => {
  const file = join(cwd, "milepost.toml");
  writeFileSync(file, text);
  expect(refusal({})).toContain(file);
  expect(refusal({})).toContain(message);
});

test("a bad variable is named", () => {
  expect(refusal({ env: { MILEPOST_MQTT_PORT: "x" } })).toContain("MILEPOST_MQTT_PORT: expected");
});

test.each(["0.0.0.0", "::", "192.168.1.2", "gateway.example", "0"])(
  "%s needs --insecure, which says what it opens",
  (host) => {
    const message = refusal({ flags: { host } });
    expect(message).toContain(`${host}: MQTT on port 1883`);
    expect(message).toContain("--insecure");
    const { options } = load({ flags: { host, insecure: true, devicePort: "0" } });
    expect(openPorts(options).join()).toContain("port 1883");
    expect(openPorts(options).join()).toContain("any free port");
  },
);

test("the admin port alone needs it too; loopback addresses do not", () => {
  expect(refusal({ flags: { adminHost: "0.0.0.0" } })).toContain("administration");
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) {
    expect(openPorts(load({ flags: { host, adminHost: host } }).options)).toEqual([]);
  }
});
