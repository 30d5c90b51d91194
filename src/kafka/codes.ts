/** The program's own error codes as Kafka's. */
import { errorTable, type ErrorCode } from "../model/errors.ts";

export const kafkaCode = (code: ErrorCode): number => errorTable[code].kafka;
