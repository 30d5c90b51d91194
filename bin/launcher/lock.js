"use strict";

const {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} = require("node:fs");
const { hostname } = require("node:os");
const { dirname } = require("node:path");
const { note } = require("./messages.js");

const beatMs = 1_000;
const staleMs = 15_000;

/**
 * Runs `work` while no other process of this project does. The lock is a file that names its
 * owner and is touched every second; one whose owner is gone is taken over.
 */
async function withLock(file, work) {
  mkdirSync(dirname(file), { recursive: true });
  const owner = `${hostname()} ${process.pid}`;
  let told = false;
  while (!take(file, owner)) {
    if (!told) note("another start is setting this up; waiting for it …");
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const beat = setInterval(() => touch(file), beatMs);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    rmSync(file, { force: true });
  }
}

function take(file, owner) {
  // Written aside and linked, so that a lock is never seen without its owner's name.
  const mine = `${file}.${process.pid}`;
  writeFileSync(mine, owner);
  try {
    linkSync(mine, file);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  } finally {
    rmSync(mine, { force: true });
  }
  const held = read(file);
  if (held !== null && abandoned(held)) remove(file, held.owner);
  return false;
}

function read(file) {
  try {
    return { owner: readFileSync(file, "utf8"), touchedMs: statSync(file).mtimeMs };
  } catch {
    return null;
  }
}

function abandoned({ owner, touchedMs }) {
  if (Date.now() - touchedMs > staleMs) return true;
  const [host, pid] = owner.split(" ");
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

/** Of several processes that see an abandoned lock one renames it; a new one goes back. */
function remove(file, owner) {
  const aside = `${file}.${process.pid}.gone`;
  try {
    renameSync(file, aside);
    if (readFileSync(aside, "utf8") !== owner) linkSync(aside, file);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function touch(file) {
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // Somebody removed it; nothing to keep alive.
  }
}

module.exports = { withLock };
