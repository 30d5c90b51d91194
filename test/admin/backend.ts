import type { AdminBackend, GroupStanding } from "../../src/admin/backend.ts";
import type { Check } from "../../src/lib/health.ts";
import type { Reset } from "../../src/groups/reset.ts";
import type { TopicInfo } from "../../src/log/types.ts";
import { MilepostError } from "../../src/model/errors.ts";

/** A node that keeps its topics in memory. */
export class MemoryBackend implements AdminBackend {
  readonly groupList = new Map<string, GroupStanding>();
  readonly commands: [string, Uint8Array][] = [];
  checkList: Check[] = [{ name: "disk", ok: true, detail: "writable" }];
  refuse: Error | null = null;
  #topics = new Map<string, TopicInfo>();

  topics(): TopicInfo[] {
    return [...this.#topics.values()];
  }

  async describe(name: string) {
    const { partitions, config } = this.#find(name);
    return {
      topic: name,
      config: { "retention.ms": "604800000", ...config },
      partitions: Array.from({ length: partitions }, (_, partition) => ({
        partition,
        start: 0,
        end: 12 * partition,
        highWatermark: 12 * partition,
        leader: 1,
        leaderEpoch: 0,
        replicas: [1],
        isr: [1],
      })),
    };
  }

  async createTopic(name: string, partitions: number, config: Record<string, string>) {
    if (this.#topics.has(name)) throw new MilepostError("topic_exists", name);
    if (!/^[a-zA-Z0-9._-]+$/.test(name)) throw new MilepostError("invalid_topic", name);
    this.#topics.set(name, { name, id: name, partitions, config: { ...config } });
  }

  async alterTopic(
    name: string,
    change: { config: Record<string, string | null>; partitions: number | null },
  ) {
    const topic = this.#find(name);
    topic.partitions = change.partitions ?? topic.partitions;
    for (const [key, value] of Object.entries(change.config)) {
      if (value === null) delete topic.config[key];
      else topic.config[key] = value;
    }
  }

  async deleteTopic(name: string) {
    this.#find(name);
    this.#topics.delete(name);
  }

  async skipDamage(name: string, partition: number) {
    this.#find(name);
    return partition === 0 ? { from: 3, to: 5 } : null;
  }

  async groups() {
    return [...this.groupList.values()].map(({ group, state, protocolType, members }) => {
      return { group, state, protocolType, members: members.length };
    });
  }

  async describeGroup(group: string) {
    const found = this.groupList.get(group);
    if (found === undefined) throw new MilepostError("group_missing", group);
    return found;
  }

  async deleteGroup(group: string) {
    await this.describeGroup(group);
    this.groupList.delete(group);
  }

  async resetGroup(group: string, { topic }: Reset) {
    const { members, offsets } = await this.describeGroup(group);
    if (members.length > 0) throw new MilepostError("group_not_empty", group);
    return offsets
      .filter((offset) => topic === null || offset.topic === topic)
      .map((offset) => {
        return { ...offset, from: offset.committed, to: 0 };
      });
  }

  async command(driver: string, bytes: Uint8Array) {
    if (this.refuse !== null) throw this.refuse;
    this.commands.push([driver, bytes]);
    return { partition: 3, offset: this.commands.length - 1 };
  }

  async metrics() {
    return "milepost_up 1\n";
  }

  checks() {
    return this.checkList;
  }

  #find(name: string): TopicInfo {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw new MilepostError("topic_missing", name);
    return topic;
  }
}
