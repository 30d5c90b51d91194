import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Something the tests use that npm does not bring. */
export type Part = {
  name: string;
  /** Programs that are on PATH when the part is there. */
  programs: string[];
  /** A C header that the compiler finds when the part is there. */
  header?: string;
  /** A folder that is there when the part is, for programs that are kept off PATH. */
  folder?: string;
  /** What brings them on Debian and Ubuntu. */
  apt: string[];
};

export const parts = {
  mosquitto: {
    name: "mosquitto-clients",
    programs: ["mosquitto_pub", "mosquitto_sub"],
    apt: ["mosquitto-clients"],
  },
  kcat: { name: "kcat", programs: ["kcat"], apt: ["kcat"] },
  librdkafka: {
    name: "librdkafka",
    programs: ["gcc"],
    header: "librdkafka/rdkafka.h",
    apt: ["gcc", "libc6-dev", "librdkafka-dev"],
  },
  chromium: { name: "chromium", programs: ["chromium"], apt: ["chromium"] },
  postgresql: {
    name: "postgresql",
    programs: ["psql"],
    folder: "/usr/lib/postgresql",
    apt: ["postgresql"],
  },
  mariadb: {
    name: "mariadb",
    programs: ["mariadb-install-db"],
    apt: ["mariadb-server-core", "mariadb-client-core"],
  },
  /** Apache Kafka itself: its jars come from Maven Central. */
  kafka: {
    name: "java and maven",
    programs: ["java", "mvn"],
    apt: ["default-jre-headless", "maven"],
  },
} satisfies Record<string, Part>;

export type PartName = keyof typeof parts;

/** For `describe.skipIf(missing("mosquitto"))`. */
export function missing(name: PartName): boolean {
  return !present(parts[name]);
}

export function present(part: Part): boolean {
  const { programs, header, folder } = part;
  if (folder !== undefined && !existsSync(folder)) return false;
  return programs.every(onPath) && (header === undefined || isHeader(header));
}

export function howToAdd(part: Part): string {
  return `apt-get install ${part.apt.join(" ")}`;
}

/** Installs what is absent where that is allowed (root on Debian or Ubuntu); says what still is. */
export function addMissing(wanted: Part[], say: (line: string) => void): Part[] {
  const absent = wanted.filter((part) => !present(part));
  if (absent.length === 0 || !mayInstall()) return absent;
  const packages = absent.flatMap((part) => part.apt);
  say(`installing ${packages.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync("apt-get", ["update", "-qq"], { stdio: "ignore", env });
  const install = ["install", "-y", "-qq", "--no-install-recommends", ...packages];
  try {
    execFileSync("apt-get", install, { stdio: ["ignore", "ignore", "inherit"], env });
  } catch {
    // What is still absent is reported by name.
  }
  return absent.filter((part) => !present(part));
}

function mayInstall(): boolean {
  return process.getuid?.() === 0 && existsSync("/etc/debian_version") && onPath("apt-get");
}

function isHeader(header: string): boolean {
  return ["/usr/include", "/usr/local/include"].some((folder) => existsSync(join(folder, header)));
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return folder !== "";
    } catch {
      return false;
    }
  });
}
