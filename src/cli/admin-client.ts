import { CommandFailure } from "./failure.ts";
import { defaultAdminServer, parseServer } from "./server-address.ts";

/** A whole answer must be there within this. */
const answerMsMax = 30_000;

/** `HOST:PORT` of an admin port as a base URL. */
export function serverUrl(server: string): string {
  const { host, port } = parseServer(server, defaultAdminServer);
  return `http://${host}:${port}`;
}

/** Calls a gateway's admin port; a refusal becomes a CommandFailure in the gateway's words. */
export async function callAdmin(
  server: string,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const url = serverUrl(server);
  let text: string;
  let ok: boolean;
  try {
    const response = await fetch(url + path, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(answerMsMax),
    });
    ok = response.ok;
    text = await response.text();
  } catch (error) {
    throw new CommandFailure(
      `no gateway answers at ${url} (${reason(error)}); ` +
        "start one with `milepost serve`, or name its admin port with --server HOST:PORT",
    );
  }
  const answer = parse(text, url);
  if (ok) return answer;
  const message = (answer as { error?: { message?: string } } | null)?.error?.message;
  throw new CommandFailure(message ?? `${url} refused: ${text.trim()}`);
}

function reason(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { code?: string } };
  return cause?.code ?? message;
}

function parse(text: string, url: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandFailure(`${url} answers, but not as a gateway's admin port does`);
  }
}
