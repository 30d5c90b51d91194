"use strict";

/**
 * Types are stripped from a source once, not by every thread of every start: what is left of it is
 * kept in `.runtime/types`, by the hash of the source. Node alone takes 60 ms of processor time a
 * thread to load what strips them, and as much again to do it.
 */

const { hash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { registerHooks, stripTypeScriptTypes } = require("node:module");
const { join } = require("node:path");
const { fileURLToPath, pathToFileURL } = require("node:url");

const mark = "\n//";

function keepStripped(root) {
  const folder = join(root, ".runtime", "types", process.version);
  const own = pathToFileURL(join(root, "/")).href;
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith(own) || !url.endsWith(".ts")) return next(url, context);
      const source = readFileSync(fileURLToPath(url), "utf8");
      const kept = join(folder, `${hash("sha1", source)}.js`);
      return {
        format: "module",
        source: read(kept) ?? keep(folder, kept, source),
        shortCircuit: true,
      };
    },
  });
}

/** Null: it is not there, or a power cut has left a part of it. */
function read(kept) {
  let text;
  try {
    text = readFileSync(kept, "utf8");
  } catch {
    return null;
  }
  const end = text.lastIndexOf(mark);
  const stripped = text.slice(0, end);
  return text.slice(end + mark.length) === hash("sha1", stripped) ? stripped : null;
}

function keep(folder, kept, source) {
  const stripped = strip(source);
  const aside = `${kept}.${process.pid}-${Math.random().toString(36).slice(2)}`;
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(aside, stripped + mark + hash("sha1", stripped));
    renameSync(aside, kept);
  } catch {
    // who may not write there starts a little slower
  }
  return stripped;
}

/** It warns that it is experimental, which an operator can do nothing about. */
function strip(source) {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}

module.exports = { keepStripped };
