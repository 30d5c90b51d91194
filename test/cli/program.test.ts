import { expect, test } from "vitest";
import { milepost } from "./run.ts";

test.each([
  ["--help"],
  ["serve --help"],
  ["topics --help"],
  ["doctor --help"],
  ["help topics"],
  ["produce --help"],
  ["consume --help"],
  ["groups --help"],
])("%s begins with examples, on stdout, and is no error", async (line) => {
  const { code, stdout, stderr } = await milepost(line.split(" "));
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^Examples:\n {2}milepost /);
  expect(stdout).toContain("Usage: milepost");
});

test("the help names what is built, and nothing else", async () => {
  const { stdout } = await milepost(["serve", "--help"]);
  expect(stdout).toContain("--mqtt-port");
  expect(stdout).not.toMatch(/replica|etcd|tls/i);
});

test("the version is the package's", async () => {
  const { code, stdout } = await milepost(["--version"]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
});

test.each([
  [[], "Usage: milepost"],
  [["srve"], "Did you mean serve?"],
  [["elephant"], "unknown command 'elephant'"],
  [["topics"], "Usage: milepost topics"],
  [["topics", "lst"], "Did you mean list?"],
  [["topics", "describe"], "missing required argument"],
  [["topics", "list", "extra"], "too many arguments"],
  [["topics", "list", "--server", "a:b:c"], "--server: expected HOST:PORT"],
  [["topics", "list", "--server", "localhost:99999"], "--server: expected HOST:PORT"],
  [["topics", "create", "a", "--partitions", "0"], "--partitions: expected a number"],
  [["topics", "create", "a", "--config", "x"], "--config: expected key=value"],
  [["topics", "create", "a", "--config", "x="], "--config x=: expected a value"],
  [["topics", "alter", "a"], "nothing to change"],
  [["topics", "delete", "a"], "say --yes"],
  [["sink"], "Usage: milepost sink"],
  [["sink", "postgres"], "required option '--url <URL>'"],
  [["sink", "postgres", "--url", "mysql://h/d"], "A URL like postgres://user:"],
  [["sink", "postgres", "--url", "postgres:///d", "--every", "10"], "A duration such as"],
  [["sink", "postgres", "--url", "postgres:///d", "--topics", ","], "Names of topics"],
  [["sink", "postgres", "--url", "postgres:///d", "--topics", "a,__mqtt"], "__mqtt is the gateway"],
  [["sink", "mysql", "--url", "mysql://u:p@h"], "A URL like mysql://user:"],
  [["sink", "parquet", "--roll", "soon"], "A duration such as"],
  [["sink", "parquet", "--group", ""], "--group: expected a name"],
  [["query"], "missing required argument"],
  [["query", " ;"], "expected SQL"],
  [["groups", "delete", "a"], "say --yes"],
  [["groups", "rest", "g"], "Did you mean reset?"],
  [["groups", "describe"], "missing required argument"],
  [["groups", "reset", "g"], "required option '--to <WHERE>' not specified"],
  [["groups", "reset", "g", "--to", "soon"], "--to: expected earliest, latest, an offset"],
  [["groups", "reset", "g", "--to", "-5", "--partition", "1"], "--partition: say of which --topic"],
  [["prodce", "t"], "Did you mean produce?"],
  [["produce"], "missing required argument"],
  [["produce", "t", "--key", "a", "--key-separator", ":"], "a record has one key"],
  [["produce", "t", "--key-separator", ""], "--key-separator: expected at least a character"],
  [["produce", "t", "--header", "x"], "--header: expected NAME=VALUE"],
  [["produce", "t", "--server", "a:b"], "--server: expected HOST:PORT such as 127.0.0.1:9092"],
  [["consume"], "missing required argument"],
  [["consume", "t", "--form", "1"], "Did you mean --from?"],
  [["consume", "t", "--from", "first"], "--from: expected earliest, latest, an offset"],
  [["consume", "t", "--count", "0"], "A whole number from 1"],
  [["consume", "t", "--group", "g", "--partition", "1"], "a group shares out the partitions"],
  [["consume", "t", "--server", "a:b"], "--server: expected HOST:PORT such as 127.0.0.1:9092"],
  [["serve", "--mqtt-prt", "1"], "Did you mean --mqtt-port?"],
  [["serve", "--node-id", "2"], "unknown option '--node-id'"],
  [["serve", "--trust-proxy", "10.0.0.0/8"], "unknown option '--trust-proxy'"],
  [["serve", "extra"], "too many arguments"],
  [["serve", "--mqtt-port"], "argument missing"],
  [["serve", "--mqtt-port", "x"], "--mqtt-port: expected a port from 0 to 65535"],
  [["serve", "--durability", "mirrored"], "mirrored needs an uplink"],
  [["serve", "--durability", "replicated"], "replicated needs a cluster"],
  [["serve", "--stale", "soon"], "--stale: expected a duration"],
  [["serve", "--live", "perhaps"], "--live: expected on or off"],
  [["serve", "--host", "0.0.0.0"], "0.0.0.0: MQTT on port 1883"],
  [["serve", "--admin-host", "::"], "administration"],
  [["serve", "--config", "/nonexistent.toml"], "/nonexistent.toml"],
])("%j is a usage error: %s", async (args, message) => {
  const { code, stdout, stderr } = await milepost(args);
  expect(stderr).toContain(message);
  expect([code, stdout]).toEqual([2, ""]);
});

test("a reader that leaves early is no error", async () => {
  const { spawnSync } = await import("node:child_process");
  const { launcher } = await import("./run.ts");
  const line = `"${process.execPath}" "${launcher}" serve --help | head -1`;
  const { stdout, stderr } = spawnSync("sh", ["-c", line], { encoding: "utf8" });
  expect([stdout, stderr]).toEqual(["Examples:\n", ""]);
});
