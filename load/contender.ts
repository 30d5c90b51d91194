/** One column of a row: something that can be measured once per round. */
import { type Report, faults } from "./generator.ts";
import { openFilesMax } from "./machine.ts";
import { type Server, type ServerName, type StartOptions, missing, start } from "./servers.ts";

export type Figures = Record<string, number>;
export type Run = { figures: Figures; faults: string[]; raw: unknown };
export type Context = StartOptions & {
  seconds: number;
  /** Size of the log for the row `restart`. */
  logGB: number;
};

export type Contender = {
  name: string;
  /** What is not installed, null when it can run. */
  missing(): string | null;
  open(context: Context): Promise<void>;
  run(context: Context): Promise<Run>;
  close(): Promise<void>;
  pids(): number[];
};

export type Measure = (server: Server, context: Context, name: ServerName) => Promise<Run>;

/** A server that stays up through all rounds. */
export function kept(name: ServerName, sockets: number, measure: Measure): Contender {
  let server: Server | null = null;
  return {
    name,
    missing: () => missing(name) ?? missingFiles(sockets),
    open: async (context) => {
      server = await start(name, context);
    },
    run: async (context) => {
      if (server === null) throw new Error(`${name} is not started`);
      return await measure(server, context, name);
    },
    close: async () => {
      await server?.stop();
      server = null;
    },
    pids: () => (server === null ? [] : [server.pid]),
  };
}

/** A server started anew for each measurement. */
export function fresh(name: ServerName, sockets: number, measure: Measure): Contender {
  const inner = kept(name, sockets, measure);
  return {
    ...inner,
    open: async () => {},
    run: async (context) => {
      await inner.open(context);
      try {
        return await inner.run(context);
      } finally {
        await inner.close();
      }
    },
    pids: () => [],
  };
}

/** Starts what it needs by itself. */
export function alone(
  name: string,
  lacking: () => string | null,
  run: (context: Context) => Promise<Run>,
): Contender {
  return {
    name,
    missing: lacking,
    open: async () => {},
    run,
    close: async () => {},
    pids: () => [],
  };
}

function missingFiles(sockets: number): string | null {
  const wanted = sockets + 200;
  return openFilesMax() < wanted
    ? `open files (ulimit -n ${wanted}; the hard limit is lower)`
    : null;
}

export function rates(report: Report): Run {
  return {
    figures: {
      "msg/s": report.ackedPerS,
      "pings/s": report.pingsPerS,
      "p50 ms": report.p50Ms,
      "p99 ms": report.p99Ms,
      "µs/msg": report.serverUsPerMessage,
      "server %": (report.serverCpuS / report.seconds) * 100,
      "generator %": (report.generatorCpuS / report.seconds) * 100,
      "others %": (report.othersCpuS / report.seconds) * 100,
    },
    faults: faults(report),
    raw: report,
  };
}
