/** Apache Kafka's jars: from Maven Central the first time, into a folder that stays. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const kafkaVersion = "4.1.0";
const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
const jars = join(cache, "milepost", `kafka-${kafkaVersion}`);
const pom = fileURLToPath(new URL("kafka/pom.xml", import.meta.url));

export function haveJars(): boolean {
  return existsSync(jars);
}

function fetchJars(): void {
  if (haveJars()) return;
  const partial = `${jars}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
  const words = ["-B", "-q", "-f", pom, goal, `-DoutputDirectory=${partial}`];
  const mvn = spawnSync("mvn", words, { encoding: "utf8" });
  if (mvn.status !== 0) {
    rmSync(partial, { recursive: true, force: true });
    throw new Error(`mvn: ${mvn.stdout}${mvn.stderr}`);
  }
  try {
    renameSync(partial, jars);
  } catch (error) {
    // another process was faster
    rmSync(partial, { recursive: true, force: true });
    if (!haveJars()) throw error;
  }
}

/** For `java`: one of Kafka's programs; `options` are the machine's. */
export function javaWords(program: string, words: string[], options: string[] = []): string[] {
  fetchJars();
  const quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";
  return [...options, quiet, "-cp", join(jars, "*"), program, ...words];
}
