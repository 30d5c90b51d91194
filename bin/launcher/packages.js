"use strict";

const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { withLock } = require("./lock.js");
const { note } = require("./messages.js");
const { npm } = require("./npm.js");

/**
 * Makes node_modules agree with package-lock.json. A stamp in it names the lockfile and the kind
 * of Node it was installed for; an installation that was cut short has none.
 */
async function ensurePackages(root, node) {
  const stamp = join(root, "node_modules", ".milepost-stamp");
  const wanted = fingerprint(root, node);
  if (read(stamp) === wanted) return;
  await withLock(join(root, ".runtime", "packages.lock"), async () => {
    if (read(stamp) === wanted) return;
    note("installing packages into node_modules/ (npm ci) …");
    const began = Date.now();
    rmSync(stamp, { force: true });
    const options = ["--ignore-scripts", "--include=dev", "--include=optional"];
    await npm(root, node, root, ["ci", ...options]);
    mkdirSync(dirname(stamp), { recursive: true });
    writeFileSync(stamp, wanted);
    note(`packages are there (${Math.round((Date.now() - began) / 1000)} s)`);
  });
}

function fingerprint(root, node) {
  const lockfile = createHash("sha256").update(readFileSync(join(root, "package-lock.json")));
  const { platform, arch } = process;
  return `${lockfile.digest("hex")} ${platform}-${arch} node ${node.version.split(".")[0]}\n`;
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

module.exports = { ensurePackages };
