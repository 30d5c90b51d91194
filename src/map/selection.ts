/** The driver that is looked at: its own channel, its trail, whether the view goes along. */
import type { Feed } from "./feed.ts";
import type { Panel } from "./panel.ts";
import type { Ping } from "./ping.ts";
import * as rest from "./rest.ts";
import { Trail } from "./trail.ts";

export class Selection {
  readonly #feed: Feed;
  readonly #panel: Panel;
  #id: string | null = null;
  #trail = new Trail();
  #following = false;
  /** Says so when it is no longer heard of. */
  isStale = false;

  constructor(feed: Feed, panel: Panel) {
    this.#feed = feed;
    this.#panel = panel;
  }

  get id(): string | null {
    return this.#id;
  }

  get trail(): Trail {
    return this.#trail;
  }

  get following(): boolean {
    return this.#following;
  }

  select(id: string): void {
    if (id === this.#id) return;
    this.#id = id;
    this.#trail = new Trail();
    this.isStale = false;
    this.follow(false);
    this.#panel.open(id);
    this.#feed.select(id);
    this.loadTrack();
  }

  clear(): void {
    this.#id = null;
    this.#trail = new Trail();
    this.follow(false);
    this.#panel.close();
    this.#feed.select(null);
  }

  follow(on: boolean): void {
    this.#following = on;
    this.#panel.following(on);
  }

  /** A publication of its channel. */
  take(ping: Ping): void {
    this.isStale = false;
    this.#trail.add(ping);
    this.#trail.trim();
  }

  /** The last hour; what came meanwhile stays. */
  loadTrack(): void {
    const id = this.#id;
    if (id === null) return;
    const trail = this.#trail;
    // without the log there is still what comes from now on
    rest.track(id).then(
      (track) => {
        trail.addTrack(track);
        if (trail === this.#trail) this.#panel.showTrail(trail);
      },
      () => {},
    );
  }
}
