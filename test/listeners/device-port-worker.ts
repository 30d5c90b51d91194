import { parentPort, workerData } from "node:worker_threads";
import { openDevicePort } from "./device-port.ts";

/** A worker of its own: says its port, then how many bodies it took each time it is asked. */
const gateway = await openDevicePort(undefined, workerData.port);
parentPort?.postMessage(gateway.port);
parentPort?.on("message", (message) => {
  if (message === "close") {
    gateway.close();
    parentPort?.close();
  } else {
    parentPort?.postMessage(gateway.intake.taken.length);
  }
});
