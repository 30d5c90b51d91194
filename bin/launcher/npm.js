"use strict";

const { execFileSync, spawn } = require("node:child_process");
const { accessSync, constants, existsSync, realpathSync } = require("node:fs");
const { basename, delimiter, dirname, join } = require("node:path");
const { Refusal } = require("./messages.js");

const offline =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b/;

/**
 * Runs the machine's npm in `folder` under `node`, so that npm picks the optional packages (native
 * binaries) that fit it. No install script is run: every binary comes prebuilt.
 */
async function npm(root, node, folder, args) {
  const [command, before] = find(node);
  const env = { ...process.env };
  if (node.path !== process.execPath) {
    env.PATH = [dirname(node.path), env.PATH].filter(Boolean).join(delimiter);
    // npm looks for the machine's settings (registry, proxy, CA) beside the Node that runs it.
    env.npm_config_globalconfig = settings();
  }
  if (!homeIsWritable()) env.npm_config_cache = join(root, ".runtime", "npm-cache");
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  const all = [...before, ...args, "--prefix", folder, ...quiet];
  const child = spawn(command, all, { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve(signal ?? status));
  });
  if (code === 0) return;
  const why = offline.test(said)
    ? "the npm registry cannot be reached: check the network, or `npm config get registry`"
    : `npm ${args[0]} failed (${code})`;
  throw new Refusal(`${why}\n${said.trim().split("\n").slice(-12).join("\n")}`);
}

/** A command and its first arguments: npm's own script where it can be found, else `npm`. */
function find(node) {
  const told = process.env.npm_execpath;
  if (told && basename(told) === "npm-cli.js" && existsSync(told)) return [node.path, [told]];
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const file = join(folder, "npm");
    if (!folder || !existsSync(file)) continue;
    const script = realpathSync(file);
    return script.endsWith(".js") ? [node.path, [script]] : [file, []];
  }
  const beside = join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js");
  if (existsSync(beside)) return [node.path, [beside]];
  throw new Refusal("npm was not found on PATH; it is needed once, to install the packages");
}

/** Where the machine's own npm reads its global settings. */
function settings() {
  const [command, before] = find({ path: process.execPath });
  const args = [...before, "config", "get", "globalconfig"];
  return execFileSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}

function homeIsWritable() {
  try {
    accessSync(process.env.HOME || "/nonexistent", constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

module.exports = { npm };
