import type { Counter, Gauge, Registry } from "../../metrics/registry.ts";

/** What the broker counts; the gauges are set when somebody looks. */
export type BrokerMetrics = ReturnType<typeof brokerMetrics>;

export function brokerMetrics(registry: Registry) {
  const dropped = (reason: string): Counter =>
    registry.counter(
      "milepost_broker_dropped_total",
      "Messages the broker dropped on the way to a subscriber.",
      { reason },
    );
  const refused = (what: string): Counter =>
    registry.counter("milepost_broker_refused_total", "Requests the broker refused.", { what });
  const command = (outcome: string): Counter =>
    registry.counter(
      "milepost_commands_total",
      "Commands read from the log, by what became of them.",
      {
        outcome,
      },
    );
  const gauge = (name: string, help: string): Gauge => registry.gauge(name, help);
  return {
    published: registry.counter(
      "milepost_broker_published_total",
      "Messages published through the broker, wills and commands among them.",
    ),
    /** To a slow subscriber; queue full; waited too long. */
    droppedQos0: dropped("qos0"),
    droppedFull: dropped("queue_full"),
    droppedAge: dropped("age"),
    refusedConnect: refused("connect"),
    refusedFilter: refused("filter"),
    refusedRetain: refused("retain"),
    sessionsEvicted: registry.counter(
      "milepost_broker_sessions_evicted_total",
      "Sessions ended to make room for newer ones.",
    ),
    commandDelivered: command("delivered"),
    commandExpired: command("expired"),
    commandNoSession: command("no_session"),
    commandInvalid: command("invalid"),
    journaled: registry.counter("milepost_broker_journal_records_total", "Records in __mqtt."),
    clients: gauge("milepost_broker_clients", "Connections that the broker serves."),
    sessions: gauge("milepost_broker_sessions", "Persistent sessions."),
    queued: gauge("milepost_broker_queued", "Messages waiting in persistent sessions."),
    queuedBytes: gauge("milepost_broker_queued_bytes", "Their payloads."),
    retained: gauge("milepost_broker_retained", "Retained messages."),
    closed: (reason: string): Counter =>
      registry.counter("milepost_broker_closed_total", "Connections closed by the broker.", {
        reason,
      }),
  };
}
