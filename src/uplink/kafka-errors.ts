/** What the Kafka client's errors mean to somebody who goes on. */
import { GenericError, findErrorBy } from "@platformatic/kafka";

/** Trying again may help. */
export function isTemporary(error: unknown): boolean {
  if (!GenericError.isGenericError(error as Error)) return false;
  return findErrorBy(error as Error, "canRetry", false) === null;
}

/** No answer came: nobody listens, the connection broke, or it took too long. */
export function isUnreachable(error: unknown): boolean {
  return findErrorBy(error as Error, "code", "PLT_KFK_NETWORK") !== null;
}

/** The group goes on when this member joins again. */
export function wantsRejoin(error: unknown): boolean {
  return findErrorBy(error as Error, "needsRejoin", true) !== null;
}

/** In a few words: the error at the bottom, without the frames around it. */
export function reasonOf(error: unknown): string {
  const { apiId, serverErrorMessage, message, cause } = innermost(error) as Error & {
    apiId?: string;
    serverErrorMessage?: string;
  };
  if (apiId !== undefined) return serverErrorMessage || `${message} (${apiId})`;
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? message;
}

/** Kafka's code of the error, or of one inside it; null when the trouble is another. */
export function codeOf(error: unknown): number | null {
  return (innermost(error) as { apiCode?: number }).apiCode ?? null;
}

/** The error at the bottom. */
export function innermost(error: unknown): unknown {
  let inner = error;
  while (inner instanceof AggregateError && inner.errors.length > 0) inner = inner.errors.at(-1);
  return inner;
}
