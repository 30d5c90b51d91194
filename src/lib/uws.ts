import { createRequire } from "node:module";
import type * as UWS from "uws-glibc-2.27";

export type * as UWS from "uws-glibc-2.27";

/**
 * uWebSockets.js is a native addon: its newest release serves Node 22 to 26 but needs glibc 2.38,
 * an older one serves Node 22 on glibc 2.27 (Debian 12). Both are installed under aliases and the
 * first one whose binary loads is used.
 */
const aliases = ["uws-glibc-2.38", "uws-glibc-2.27"];

function load(): { uws: typeof UWS; uwsPackage: string } {
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  for (const alias of aliases) {
    try {
      return { uws: require(alias) as typeof UWS, uwsPackage: alias };
    } catch (error) {
      failures.push(`${alias}: ${(error as Error).message.split("\n", 1)[0]}`);
    }
  }
  throw new Error(`uWebSockets.js cannot be loaded: ${failures.join("; ")}`);
}

export const { uws, uwsPackage } = load();
