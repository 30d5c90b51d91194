/**
 * Who subscribed to what: filters without a wildcard in one map (one per device, so they must be
 * cheap), the others in a tree by level.
 */
import { isWild } from "./topics.ts";

type Node<T> = { children: Map<string, Node<T>>; here: Set<T>; below: Set<T> };

export class FilterIndex<T> {
  readonly #exact = new Map<string, Set<T>>();
  readonly #root: Node<T> = newNode();
  size = 0;

  add(filter: string, value: T): void {
    const set = isWild(filter) ? this.#wildSet(filter) : this.#exactSet(filter);
    if (set.has(value)) return;
    set.add(value);
    this.size++;
  }

  remove(filter: string, value: T): void {
    if (isWild(filter)) {
      if (removeWild(this.#root, filter.split("/"), 0, value)) this.size--;
      return;
    }
    const set = this.#exact.get(filter);
    if (set === undefined || !set.delete(value)) return;
    this.size--;
    if (set.size === 0) this.#exact.delete(filter);
  }

  /** Wildcards first. A value under several matching filters comes several times. */
  match(topic: string): T[] {
    const found: T[] = [];
    const { children, below } = this.#root;
    if (children.size > 0 || below.size > 0) {
      collect(this.#root, topic.split("/"), 0, found, topic.startsWith("$"));
    }
    const exact = this.#exact.get(topic);
    if (exact !== undefined) for (const value of exact) found.push(value);
    return found;
  }

  #exactSet(filter: string): Set<T> {
    let set = this.#exact.get(filter);
    if (set === undefined) this.#exact.set(filter, (set = new Set()));
    return set;
  }

  #wildSet(filter: string): Set<T> {
    let node = this.#root;
    for (const level of filter.split("/")) {
      if (level === "#") return node.below;
      let child = node.children.get(level);
      if (child === undefined) node.children.set(level, (child = newNode()));
      node = child;
    }
    return node.here;
  }
}

function newNode<T>(): Node<T> {
  return { children: new Map(), here: new Set(), below: new Set() };
}

/** `reserved`: the topic begins with `$`, wildcards at the first level do not match it. */
function collect<T>(
  node: Node<T>,
  levels: string[],
  at: number,
  found: T[],
  reserved: boolean,
): void {
  const wild = at > 0 || !reserved;
  // `#` includes the parent level [MQTT-4.7.1-2]
  if (wild) for (const value of node.below) found.push(value);
  if (at === levels.length) {
    for (const value of node.here) found.push(value);
    return;
  }
  const any = wild ? node.children.get("+") : undefined;
  if (any !== undefined) collect(any, levels, at + 1, found, reserved);
  const named = node.children.get(levels[at]);
  if (named !== undefined) collect(named, levels, at + 1, found, reserved);
}

function removeWild<T>(node: Node<T>, levels: string[], at: number, value: T): boolean {
  if (at === levels.length) return node.here.delete(value);
  if (levels[at] === "#") return node.below.delete(value);
  const child = node.children.get(levels[at]);
  if (child === undefined || !removeWild(child, levels, at + 1, value)) return false;
  if (child.children.size + child.here.size + child.below.size === 0) {
    node.children.delete(levels[at]);
  }
  return true;
}
