/** An IPv4 client of an IPv6 socket sees and is told IPv4 addresses. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "");
