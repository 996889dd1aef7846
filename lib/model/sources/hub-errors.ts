import { LowrankError } from "../../errors/index.js";

/** Why a request to the hub failed; `details.reason` of an ERR_DOWNLOAD. */
export type HubFailure =
  | "unreachable" // no connection: no such host, refused, or no answer in time
  | "network" // a connection that broke
  | "timeout" // a connection without a byte for too long
  | "status" // an HTTP status of 400 or more, in details.status
  | "answer" // an answer that is not what the hub's API promises
  | "checksum"; // bytes that are not those that were announced

/** An ERR_DOWNLOAD about the hub. `retryable`: the same request may succeed a little later. */
export function hubError(
  message: string,
  details: { reason: HubFailure; retryable: boolean; [fact: string]: unknown },
  cause?: unknown,
): LowrankError {
  return new LowrankError("ERR_DOWNLOAD", message, { cause, details });
}

export function isRetryable(error: unknown): boolean {
  return LowrankError.isInstance(error) && error.code === "ERR_DOWNLOAD" && error.details?.retryable === true;
}

/** True where the hub itself is the trouble, so that what lies in the cache is the best answer to be had. */
export function isHubOutage(error: unknown): boolean {
  return isRetryable(error) || (LowrankError.isInstance(error) && error.details?.reason === "unreachable");
}

/** Turns whatever `fetch`, a body or the hub library threw into a coded error. */
export function asHubError(error: unknown, what: string): LowrankError {
  if (LowrankError.isInstance(error)) return error;
  const cause = (error as { cause?: { code?: unknown; message?: unknown } } | null)?.cause;
  const reason = [cause?.code, cause?.message, (error as Error | null)?.message].find(
    (text) => typeof text === "string",
  );
  if (error instanceof SyntaxError) {
    return hubError(
      `Expected JSON for ${what}, received something else. Check HF_ENDPOINT, or a proxy that answers in its place.`,
      { reason: "answer", retryable: false },
      error,
    );
  }
  if (error instanceof TypeError && cause === undefined && !/fetch|terminated|network/i.test(error.message)) {
    return hubError(
      `Expected the hub's answer for ${what} in the form of its API, received another. Check HF_ENDPOINT.`,
      { reason: "answer", retryable: false },
      error,
    );
  }
  if (/redirect/i.test(String(reason)))
    return hubError(
      `Expected the content of ${what}, received a redirect that leads nowhere (${String(reason)}). Check HF_ENDPOINT.`,
      { reason: "answer", retryable: false },
      error,
    );
  return hubError(
    `Expected an answer for ${what}, received a broken connection (${String(reason ?? error)}). ` +
      "Check the network and call again: the download goes on where it stopped.",
    { reason: "network", retryable: true },
    error,
  );
}

/** The error for an HTTP status of 400 or more. Never holds the answer's body nor the token. */
export function statusError(response: Response, what: string, hasToken: boolean): LowrankError {
  const { status, headers } = response;
  const details = {
    reason: "status" as const,
    status,
    retryable: status === 408 || status === 429 || status >= 500,
  };
  const code = headers.get("x-error-code");
  if (status === 401 || status === 403) {
    const remedy = hasToken
      ? "Check that the token may read it and, for a gated model, accept its terms on its page."
      : "Set HF_TOKEN; for a gated model first accept its terms on its page.";
    return hubError(
      `Expected access to ${what}, received HTTP ${status}: it is private or gated, or does not exist. ${remedy}`,
      details,
    );
  }
  if (status === 404) {
    const missing =
      code === "RevisionNotFound" ? "revision" : code === "EntryNotFound" ? "file" : "model or revision";
    return new LowrankError(
      "ERR_MODEL_NOT_FOUND",
      `Expected ${what} on the hub, received HTTP 404: no such ${missing}. Check the spelling; for a private model set HF_TOKEN.`,
      { details },
    );
  }
  return hubError(`Expected ${what} from the hub, received HTTP ${status}. Call again later.`, details);
}
