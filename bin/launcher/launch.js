"use strict";

/**
 * What every command in bin/ does first: find a Node that can run this program, install the
 * packages that are missing, then load a TypeScript file with the command's arguments. Parses on
 * Node 18; nothing here may use a package.
 */

const { spawn } = require("node:child_process");
const { delimiter, dirname, join, resolve } = require("node:path");
const { pathToFileURL } = require("node:url");
const { ensurePackages } = require("./packages.js");
const { ensureRuntime, runsHere, thisNode } = require("./runtime.js");

const root = resolve(__dirname, "..", "..");

/** Flags for the Node process itself; the one place for them. */
const nodeFlags = [];

async function launch({ script, entry }) {
  try {
    const node = runsHere() ? thisNode() : await ensureRuntime(root);
    await ensurePackages(root, node);
    if (node.path !== process.execPath) return rerun(node.path, script);
    if (nodeFlags.some((flag) => !process.execArgv.includes(flag))) return replace(script);
    dieWithParent();
    // what it uses is not in a Node 18
    require("./types.js").keepStripped(root);
  } catch (error) {
    process.stderr.write(`milepost: ${error.expected ? error.message : error.stack}\n`);
    process.exit(1);
  }
  await import(pathToFileURL(join(root, entry)).href);
}

/** The same command under another Node; this process stays to pass signals and the exit code. */
function rerun(node, script) {
  const path = [dirname(node), process.env.PATH].filter(Boolean).join(delimiter);
  const child = spawn(node, [...nodeFlags, script, ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, PATH: path, MILEPOST_LAUNCHED: String(process.pid) },
  });
  // A terminal sends SIGINT to the whole group, so the child has it already.
  const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  const pass = (signal) => {
    if (signal !== "SIGINT" || !terminal) child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"];
  for (const signal of signals) process.on(signal, pass);
  child.on("error", (error) => {
    process.stderr.write(`milepost: ${node} does not start: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    for (const name of signals) process.off(name, pass);
    if (signal) process.kill(process.pid, signal);
    else process.exit(code);
  });
}

/** The same process with other flags: no second process to look after. */
function replace(script) {
  const args = [...process.execArgv, ...nodeFlags, script, ...process.argv.slice(2)];
  process.execve(process.execPath, [process.execPath, ...args], process.env);
}

/** `kill -9` of the process a user started must not leave the one that holds the ports. */
function dieWithParent() {
  const parent = process.env.MILEPOST_LAUNCHED;
  delete process.env.MILEPOST_LAUNCHED;
  if (parent !== String(process.ppid) || !process.channel) return;
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel.unref();
}

module.exports = { launch };
