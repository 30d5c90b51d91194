import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDevicePort, RawConnection, type DevicePort } from "./device-port.ts";

let gateway: DevicePort;
let heldGateway: DevicePort;
beforeAll(async () => {
  gateway = await openDevicePort();
  heldGateway = await openDevicePort();
  heldGateway.intake.holding = true;
});
afterAll(() => {
  gateway.close();
  heldGateway.close();
});

const head = (length: number): string =>
  `POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// all at once: each takes as long as what it waits for
describe.concurrent("slow requests", () => {
  it("answers 408 when a body stops coming", async () => {
    const connection = await RawConnection.open(gateway.port);
    connection.send(`${head(10)}[`);
    expect(await connection.closed()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it("takes a body that trickles in over longer than uWS alone would wait", async () => {
    const connection = await RawConnection.open(gateway.port);
    connection.send(`${head(15)}[`);
    for (let i = 0; i < 13; i++) {
      await sleep(1100);
      connection.send(" ");
    }
    connection.send("]");
    expect(await connection.until((text) => text.includes("}"))).toMatch(/^HTTP\/1\.1 200 /);
    connection.destroy();
  });

  it("closes who never finishes a head, or never begins", async () => {
    const begun = await RawConnection.open(gateway.port);
    begun.send("POST /v1/ingest HTTP/1.1\r\nHost:");
    const silent = await RawConnection.open(gateway.port);
    await Promise.all([begun.closed(), silent.closed()]);
  });

  it("keeps a request open while the log is slow", async () => {
    const connection = await RawConnection.open(heldGateway.port);
    connection.send(`${head(2)}[]`);
    await sleep(14_000);
    heldGateway.intake.letGo(1);
    expect(await connection.until((text) => text.includes("}"))).toMatch(/^HTTP\/1\.1 200 /);
    connection.destroy();
  });
});
