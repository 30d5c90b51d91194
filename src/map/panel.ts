/** The panel of the selected driver; a sheet from below on phones. */
import { FADE_AFTER_MS, isMoving } from "./fleet.ts";
import { compassPoint, duration, element, setText } from "./page.ts";
import type { Ping } from "./ping.ts";
import type { Trail } from "./trail.ts";

export type Covered = { left: number; top: number; bottom: number };

const PARTS = 60;
const WIDTH = 300;
const HEIGHT = 48;
const KMH = 3.6;

export class Panel {
  readonly #root = element("driver");
  readonly #follow = element<HTMLButtonElement>("follow");

  constructor(actions: { close(): void; follow(): void }) {
    element("close").addEventListener("click", actions.close);
    this.#follow.addEventListener("click", actions.follow);
  }

  open(id: string): void {
    this.#root.hidden = false;
    setText("driver-id", id);
    element("driver-id").title = id;
    element("profile").style.visibility = "hidden"; // keeps its room: the panel does not jump
    setText("distance", "–");
  }

  close(): void {
    this.#root.hidden = true;
  }

  /** Pixels of the map that it and the bar cover: at the side, or on phones above and below. */
  get covered(): Covered {
    const bar = element("bar").getBoundingClientRect();
    const isPhone = bar.width > innerWidth * 0.8;
    if (!isPhone) return { left: bar.right, top: 0, bottom: 0 };
    const sheet = this.#root.hidden ? 0 : this.#root.getBoundingClientRect().height;
    return { left: 0, top: bar.bottom, bottom: sheet };
  }

  following(on: boolean): void {
    this.#follow.ariaPressed = String(on);
    this.#follow.textContent = on ? "Following" : "Follow";
  }

  /** `isStale`: the gateway has said so. */
  show(ping: Ping, clockMs: number, isStale: boolean): void {
    const ageMs = clockMs - ping.ts;
    const moving = isMoving(ping);
    const silent = isStale || clockMs - ping.received > FADE_AFTER_MS;
    setText("driver-state", silent ? "Not heard of lately" : moving ? "Moving" : "Standing still");
    setText("speed", ping.speed === undefined ? "–" : String(Math.round(ping.speed * KMH)));
    const { heading } = ping;
    const degrees = Math.round(heading ?? 0);
    setText("heading", heading === undefined ? "–" : `${compassPoint(heading)} ${degrees}°`);
    const compass = element<SVGElement>("compass");
    compass.style.visibility = heading === undefined ? "hidden" : "visible";
    compass.style.transform = `rotate(${heading ?? 0}deg)`;
    setText("age", ageMs < 1500 ? "just now" : `${duration(ageMs)} ago`);
    setText("battery", ping.battery === undefined ? "–" : `${Math.round(ping.battery * 100)} %`);
    setText("accuracy", ping.accuracy === undefined ? "–" : `± ${Math.round(ping.accuracy)} m`);
    setText("trip", ping.trip ?? "None");
  }

  /** Distance, and speed over time. */
  showTrail(trail: Trail): void {
    const { fixes } = trail;
    if (fixes.length < 2) return;
    const spanMs = fixes[fixes.length - 1].ts - fixes[0].ts;
    const label = spanMs > 55 * 60_000 ? "Last hour" : `Last ${duration(spanMs)}`;
    setText("distance-label", label);
    setText("distance", `${(trail.metres() / 1000).toFixed(1)} km`);
    const speeds = trail.speeds(Math.min(PARTS, fixes.length - 1));
    if (speeds.length < 8) return;
    element("profile").style.visibility = "visible";
    setText("profile-from", `${duration(spanMs)} ago`);
    const top = Math.max(8, ...speeds.map((speed) => speed ?? 0));
    const across = WIDTH / (speeds.length - 1);
    const corners = speeds.map((speed, i) => {
      const y = HEIGHT - 2 - ((speed ?? 0) / top) * (HEIGHT - 6);
      return `${(i * across).toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = `M${corners.join("L")}`;
    element("profile-line").setAttribute("d", line);
    element("profile-area").setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
  }
}
