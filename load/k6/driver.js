// What both scripts share: the pings of one driver, and when each message is due.

/**
 * Makes bodies for one driver: `(seq, count)` → that many pings a second apart as JSON, the newest
 * last; an array when there are several. What does not change is joined once: k6's interpreter
 * spends most of its time here.
 */
export function pingsOf(id) {
  const head = `{"id":"${id}","ts":`;
  // Within 11 m: nothing a gateway would flag as a jump.
  const middles = Array.from(
    "0123456789",
    (d) => `,"lat":12.9716${d}5,"lon":77.5946${d}5,"speed":9.5,"heading":90,"accuracy":5,"seq":`,
  );
  return (seq, count) => {
    const oldest = Date.now() - (count - 1) * 1000;
    const all = [];
    for (let i = 0; i < count; i++) {
      const n = seq + i;
      all.push(head + (oldest + i * 1000) + middles[n % 10] + n + "}");
    }
    return count === 1 ? all[0] : "[" + all.join(",") + "]";
  };
}

/**
 * Calls `send(n, dueMs)` for n = 0, 1, … at `perSecond`, for `seconds`, then `finished()`; stops
 * when `send` answers false.
 * `dueMs` is when the message should have gone out: a late one counts from there.
 */
export function openLoop(perSecond, seconds, send, finished) {
  const everyMs = 1000 / perSecond;
  // Drivers do not send in step.
  const start = Date.now() + Math.random() * everyMs;
  const count = Math.floor(perSecond * seconds);
  const dueMs = (n) => start + n * everyMs;
  let sent = 0;
  const tick = () => {
    const now = Date.now();
    while (sent < count && dueMs(sent) <= now) {
      if (send(sent, dueMs(sent)) === false) return;
      sent++;
    }
    if (sent === count) finished();
    else setTimeout(tick, Math.max(1, dueMs(sent) - now));
  };
  tick();
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
