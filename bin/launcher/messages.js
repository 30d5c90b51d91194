"use strict";

/** An error the user can do something about: printed without a stack. */
class Refusal extends Error {
  expected = true;
}

/** Progress goes to stderr: stdout is data. */
function note(text) {
  process.stderr.write(`milepost: ${text}\n`);
}

module.exports = { note, Refusal };
