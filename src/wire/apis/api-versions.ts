import { api } from "../api.ts";
import { array, field, int16, int32, string, struct } from "../schema.ts";

/** KIP-35, KIP-511. The response's header is of version 0 in every version of the API. */
export const apiVersions = api({
  key: 18,
  name: "ApiVersions",
  versions: "0-4",
  flexible: "3+",
  request: {
    clientSoftwareName: field("3+", string),
    clientSoftwareVersion: field("3+", string),
  },
  response: {
    errorCode: field("0+", int16),
    apiKeys: field(
      "0+",
      array(
        struct({
          apiKey: field("0+", int16),
          minVersion: field("0+", int16),
          maxVersion: field("0+", int16),
        }),
      ),
    ),
    throttleTimeMs: field("1+", int32),
  },
});
