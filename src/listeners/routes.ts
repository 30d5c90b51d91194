/** Which topics take what: made from the topics' settings, anew whenever one changes. */
import type { IndexedTopic } from "../log/protocol.ts";

export type Route = {
  /** Index of the topic in slabs. */
  topic: number;
  partitions: number;
  /** Resolution of the H3 cell that is the key; -1: the driver is. */
  resolution: number;
};

export type Routes = {
  /** `positions` first: acknowledgements name its offsets. */
  positions: readonly Route[];
  events: readonly Route[];
  commands: readonly Route[];
  rejects: readonly Route[];
};

export const NO_ROUTES: Routes = { positions: [], events: [], commands: [], rejects: [] };

/** Without both a ping cannot be acknowledged, good or bad. */
export function takesPings({ positions, rejects }: Routes): boolean {
  return positions.length > 0 && rejects.length > 0;
}

export function routesOf(topics: readonly IndexedTopic[]): Routes {
  const from = (what: string, first: string): Route[] =>
    topics
      .filter((t) => t.config["milepost.from"] === what)
      .sort((a, b) => Number(b.name === first) - Number(a.name === first))
      .map(routeOf);
  const named = (name: string): Route[] => topics.filter((t) => t.name === name).map(routeOf);
  return {
    positions: from("position", "positions"),
    events: from("event", "events"),
    commands: named("commands"),
    rejects: named("rejects"),
  };
}

function routeOf({ index, partitions, config }: IndexedTopic): Route {
  const h3 = /^h3:(\d+)$/.exec(config["milepost.key"] ?? "");
  return { topic: index, partitions, resolution: h3 === null ? -1 : Number(h3[1]) };
}
