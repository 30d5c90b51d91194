// What both scripts share: the pings of one driver, and when each message is due.

/** `count` pings a second apart as JSON, the newest last; an array when there are several. */
export function pings(id, seq, count) {
  const now = Date.now();
  const all = [];
  for (let i = 0; i < count; i++) {
    const ts = now - (count - 1 - i) * 1000;
    const metres = (seq + i) % 10; // within 11 m: nothing a gateway would flag as a jump
    all.push(
      `{"id":"${id}","ts":${ts},"lat":12.9716${metres}5,"lon":77.5946${metres}5,` +
        `"speed":9.5,"heading":90,"accuracy":5,"seq":${seq + i}}`,
    );
  }
  return count === 1 ? all[0] : `[${all.join(",")}]`;
}

/**
 * Calls `send(n, dueMs)` for n = 0, 1, … at `perSecond`, for `seconds`, then `finished()`.
 * `dueMs` is when the message should have gone out: a late one counts from there.
 */
export function openLoop(perSecond, seconds, send, finished) {
  const everyMs = 1000 / perSecond;
  // Drivers do not send in step.
  const start = Date.now() + Math.random() * everyMs;
  const count = Math.floor(perSecond * seconds);
  let sent = 0;
  const timer = setInterval(
    () => {
      const now = Date.now();
      while (sent < count && start + sent * everyMs <= now) {
        if (send(sent, start + sent * everyMs) === false) return clearInterval(timer);
        sent++;
      }
      if (sent === count) {
        clearInterval(timer);
        finished();
      }
    },
    Math.max(1, everyMs / 4),
  );
}

/** One iteration per VU, and every VU is a driver with one connection. */
export function scenarios(vus, seconds) {
  return {
    drivers: {
      executor: "per-vu-iterations",
      vus,
      iterations: 1,
      maxDuration: `${seconds + 60}s`,
    },
  };
}

export function driverId(vu) {
  return `k6-${String(vu).padStart(6, "0")}`;
}
