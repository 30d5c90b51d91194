import { apiVersions } from "../../wire/apis/api-versions.ts";
import { E } from "../../wire/errors.ts";
import type { Writer } from "../../wire/writer.ts";
import { type Handler, serve } from "../handler.ts";

/** KIP-511. */
const software = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

const row = ({ key, versions }: Handler["api"]) => ({
  apiKey: key,
  minVersion: versions.from,
  maxVersion: versions.to,
});

/** Advertises the APIs of `others`, and itself. */
export function apiVersionsHandler(others: Handler[]): Handler {
  const apiKeys = [row(apiVersions), ...others.map(({ api }) => row(api))];
  apiKeys.sort((a, b) => a.apiKey - b.apiKey);
  return serve(apiVersions, ({ clientSoftwareName, clientSoftwareVersion }, { version }) => {
    const named = software.test(clientSoftwareName) && software.test(clientSoftwareVersion);
    if (version >= 3 && !named)
      return { errorCode: E.INVALID_REQUEST, apiKeys: [], throttleTimeMs: 0 };
    return { errorCode: E.NONE, apiKeys, throttleTimeMs: 0 };
  });
}

/** KIP-511: any version gets an answer, in the form of version 0, from which the client goes on. */
export function answerUnknownVersion(response: Writer): void {
  const apiKeys = [row(apiVersions)];
  const answer = { errorCode: E.UNSUPPORTED_VERSION, apiKeys, throttleTimeMs: 0 };
  apiVersions.response(0).write(response, answer);
}
