/**
 * An accepted socket that reads into a buffer of the thread: a read allocates nothing. `net` takes
 * `onread` only where it makes the socket itself, so the accepted socket's handle is given to a
 * socket of our own. It is not read until `resume()`.
 */
import net from "node:net";

type WithHandle = { _handle: unknown };

export function readInto(
  accepted: net.Socket,
  buffer: Buffer,
  /** The first `length` bytes of `buffer` are new; they are gone when it returns. */
  data: (length: number) => void,
  options: { allowHalfOpen?: boolean } = {},
): net.Socket {
  const handle = (accepted as unknown as WithHandle)._handle;
  (accepted as unknown as WithHandle)._handle = null;
  accepted.destroy();
  const callback = (length: number): boolean => {
    data(length);
    return true;
  };
  const made = { ...options, handle, onread: { buffer, callback } };
  return new net.Socket(made as unknown as net.SocketConstructorOpts);
}
