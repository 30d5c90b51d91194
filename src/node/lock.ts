/**
 * One process per data directory. Neither LMDB nor `reusePort` would keep a second one out, so a
 * lock that dies with the process comes first: on Linux an abstract Unix socket named after the
 * directory's device and inode, which nobody can leave behind; elsewhere a socket file, taken over
 * when nobody answers on it. `lock.json` beside it is only for naming the holder.
 */
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { MilepostError } from "../model/errors.ts";

export type DirectoryLock = { release(): void };

export async function lockDirectory(dir: string): Promise<DirectoryLock> {
  fs.mkdirSync(dir, { recursive: true });
  const { dev, ino } = fs.statSync(dir);
  const abstract = process.platform === "linux";
  const name = abstract ? `\0milepost:${dev}:${ino}` : path.join(dir, "lock.sock");
  const holderFile = path.join(dir, "lock.json");
  const server = net.createServer((socket) => socket.destroy());
  try {
    await listen(server, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    if (abstract || (await answers(name))) throw inUse(dir, holderFile);
    fs.rmSync(name, { force: true });
    await listen(server, name);
  }
  server.unref();
  fs.writeFileSync(holderFile, JSON.stringify({ pid: process.pid }));
  return {
    release: () => {
      fs.rmSync(holderFile, { force: true });
      server.close();
    },
  };
}

function inUse(dir: string, holderFile: string): MilepostError {
  let holder = "another process";
  try {
    const { pid } = JSON.parse(fs.readFileSync(holderFile, "utf8")) as { pid: number };
    holder = `process ${pid}`;
  } catch {
    // the holder has not written it yet
  }
  return new MilepostError("locked", `${dir} is held by ${holder}`);
}

function listen(server: net.Server, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(name, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

function answers(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(name);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
