import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname } from "node:path";
import { limits } from "../model/limits.ts";

/** `warning`: works, but not as one would want it in production. */
export type Finding = { name: string; state: "ok" | "warning" | "failed"; detail: string };

/** Each connection is a descriptor, each open slice three. */
const descriptorsLeast = limits.descriptorsKept + 1024;

/** Before this version was made: a clock that was never set. */
const clockLeast = Date.UTC(2026, 0, 1);

const fileSystems = new Map([
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x2fc12fc1, "zfs"],
  [0x794c7630, "overlayfs"],
  [0x6969, "nfs"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "smb2"],
]);

export function checkNode(): Finding {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const ok = major > 22 || (major === 22 && minor >= 22);
  const machine = `${process.platform}-${process.arch}`;
  const size = `${availableParallelism()} cores, ${mib(totalmem())} of memory`;
  const detail = `${process.version} on ${machine}, ${size}`;
  return {
    name: "node",
    state: ok ? "ok" : "failed",
    detail: ok ? detail : `${detail}; 22.22 or later is needed`,
  };
}

export function checkDescriptors(): Finding {
  const name = "open files";
  // without the look-up of every open connection's host name
  Object.assign(process.report, { excludeNetwork: true });
  const report = process.report.getReport() as {
    userLimits?: { open_files?: { soft: number | string } };
  };
  const soft = report.userLimits?.open_files?.soft;
  if (soft === undefined) return { name, state: "ok", detail: "no limit known" };
  if (soft === "unlimited") return { name, state: "ok", detail: "unlimited" };
  const connections = Math.max(0, Number(soft) - 3 * limits.slicesOpenMax);
  const detail = `ulimit -n ${soft}: room for about ${connections} connections`;
  if (Number(soft) >= descriptorsLeast) return { name, state: "ok", detail };
  return { name, state: "failed", detail: `${detail}; raise it to ${descriptorsLeast} at least` };
}

export function checkClock(now: number): Finding {
  const ok = now >= clockLeast;
  const detail = new Date(now).toISOString();
  return {
    name: "clock",
    state: ok ? "ok" : "failed",
    detail: ok ? detail : `${detail} is in the past; pings would be refused as ahead of time`,
  };
}

/** Free space against the watermark, the kind of file system, and whether we may write there. */
export function checkDisk(dataDir: string, diskMin: number | null): Finding[] {
  const place = nearestExisting(dataDir);
  const { type, bsize, blocks, bavail } = statfsSync(place);
  const free = bavail * bsize;
  const least = diskMin ?? Math.max(16 * 2 ** 20, Math.min(2 ** 30, blocks * bsize * 0.05));
  const space: Finding = {
    name: "disk space",
    state: free >= least ? "ok" : "failed",
    detail: `${mib(free)} free at ${place}; nothing new is written below ${mib(least)}`,
  };
  const kind = fileSystems.get(type) ?? `type 0x${type.toString(16)}`;
  return [space, { name: "file system", ...judge(kind) }, checkWritable(place)];
}

function judge(kind: string): Omit<Finding, "name"> {
  if (kind === "tmpfs" || kind === "ramfs") {
    return { state: "warning", detail: `${kind}: the log is in memory and gone with a reboot` };
  }
  if (kind === "nfs" || kind === "cifs" || kind === "smb2") {
    return { state: "failed", detail: `${kind}: the log needs a local disk (memory-mapped files)` };
  }
  return { state: "ok", detail: kind };
}

function checkWritable(place: string): Finding {
  try {
    accessSync(place, constants.R_OK | constants.W_OK | constants.X_OK);
    return { name: "permissions", state: "ok", detail: `${place} can be written` };
  } catch (error) {
    return { name: "permissions", state: "failed", detail: (error as Error).message };
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}

function mib(bytes: number): string {
  const units: [number, string][] = [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
  ];
  const [size, unit] = units.find(([least]) => bytes >= 10 * least) ?? units[1];
  return `${Math.round(bytes / size)} ${unit}`;
}
