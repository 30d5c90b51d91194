import { isIPv4 } from "node:net";

/** Addresses only this machine can reach. Names other than localhost count as reachable. */
export function isLoopback(address: string): boolean {
  if (isIPv4(address)) return address.startsWith("127.");
  return address === "::1" || address.toLowerCase() === "localhost";
}
