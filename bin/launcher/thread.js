"use strict";

/** The first file of a thread; its argument is the one that matters. */

const { resolve } = require("node:path");
const { keepStripped } = require("./types.js");

keepStripped(resolve(__dirname, "..", ".."));
void import(process.argv[2]);
