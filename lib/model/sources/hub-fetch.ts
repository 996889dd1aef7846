import { connect } from "node:net";
import { asHubError, hubError, statusError } from "./hub-errors.js";
import type { HubLimits, SourceContext } from "./source-context.js";

/** What one `fetch` may do beyond the limits of the context. */
export interface HubRequest {
  /** What is asked for, as messages name it. */
  what: string;
  /** Most bytes that an answer's body may have. */
  maxBytes: number;
  /** Most requests, where the library goes on from page to page. Default: no limit. */
  maxRequests?: number;
}

/**
 * A `fetch` for the hub library: it sends the token to the endpoint alone, bounds the time to the first byte, the time
 * in which bytes must come, the size and the number of requests, ends with the context's signal, and throws a coded error for a
 * status of 400 or more.
 */
export function hubFetch(context: SourceContext, request: HubRequest): typeof fetch {
  const { endpoint, token, signal, limits } = context;
  let requests = 0;
  return async (input, init) => {
    if (++requests > (request.maxRequests ?? Infinity))
      throw hubError(
        `Expected at most ${request.maxRequests} pages for ${request.what}, received more. Check HF_ENDPOINT.`,
        { reason: "answer", retryable: false },
      );
    const url = new URL(input instanceof Request ? input.url : input);
    // The library follows `Link` headers to further pages; none of them may lead elsewhere.
    if (url.href !== endpoint && !url.href.startsWith(`${endpoint}/`)) {
      throw hubError(
        `Expected a page of ${endpoint} for ${request.what}, received a link to ${url.origin}. Check HF_ENDPOINT.`,
        { reason: "answer", retryable: false },
      );
    }
    const headers = new Headers(init?.headers);
    // Compressed answers have no byte ranges and no size that could be checked.
    headers.set("accept-encoding", "identity");
    headers.set("user-agent", "lowrank");
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`); // dropped by fetch on a redirect elsewhere

    // One controller a request, ended by hand: AbortSignal.any may be collected while its request still runs.
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    const release = (): void => signal?.removeEventListener("abort", onAbort);
    signal?.addEventListener("abort", onAbort);
    const timer = setTimeout(
      () => controller.abort(stalled(request.what, limits.responseMs)),
      limits.responseMs,
    );
    try {
      signal?.throwIfAborted();
      const response = await fetch(url, { ...init, headers, signal: controller.signal });
      if (response.status >= 400) {
        await response.body?.cancel().catch(() => {});
        throw statusError(response, request.what, token !== undefined);
      }
      const body = response.body && boundedBody(response.body, request, limits, release);
      if (!body) release();
      return new Response(body, { status: response.status, headers: response.headers });
    } catch (error) {
      release();
      signal?.throwIfAborted();
      throw asHubError(error, request.what);
    } finally {
      clearTimeout(timer);
    }
  };
}

/**
 * Passes a body on until it stands still, hardly moves or exceeds the bytes that it may have; calls `release` at its end. Only the time
 * in which it is waited for counts, not that of the reader.
 */
function boundedBody(
  body: ReadableStream<Uint8Array>,
  request: HubRequest,
  { stallMs, stallBytes }: HubLimits,
  release: () => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let received = 0;
  let waited = 0;
  let expected = stallBytes;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let timer: NodeJS.Timeout | undefined;
      const began = performance.now();
      const stall = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(stalled(request.what, stallMs)), Math.max(1, stallMs - waited));
      });
      try {
        const { done, value } = await Promise.race([reader.read(), stall]);
        if (done) {
          release();
          controller.close();
          return;
        }
        received += value.length;
        waited += performance.now() - began;
        if (received >= expected) [waited, expected] = [0, received + stallBytes];
        if (received > request.maxBytes) throw tooLong(request);
        controller.enqueue(value);
      } catch (error) {
        release();
        await reader.cancel(error).catch(() => {});
        throw asHubError(error, request.what);
      } finally {
        clearTimeout(timer);
      }
    },
    cancel(reason) {
      release();
      return reader.cancel(reason);
    },
  });
}

function stalled(what: string, ms: number): Error {
  return hubError(
    `Expected data for ${what}, received none for ${ms / 1000} s, or hardly any. ` +
      "Check the network and call again: the download goes on where it stopped.",
    { reason: "timeout", retryable: true },
  );
}

function tooLong({ what, maxBytes }: HubRequest): Error {
  return hubError(
    `Expected at most ${maxBytes} bytes for ${what}, received more. Check HF_ENDPOINT, or a proxy that answers in its place.`,
    { reason: "answer", retryable: false },
  );
}

/**
 * Resolves once a connection to the hub stands, so that a network which drops its packets costs `connectMs` and not the
 * minutes of the system's own timeout. Where Node goes through a proxy, the proxy is the one to try; that is left to fetch.
 */
export async function connectToHub({ endpoint, limits, signal }: SourceContext): Promise<void> {
  if (/^(1|true)$/i.test(process.env.NODE_USE_ENV_PROXY ?? "")) return;
  const { hostname, port, protocol } = new URL(endpoint);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port) || (protocol === "http:" ? 80 : 443),
    });
    const timer = setTimeout(() => finish(`no answer within ${limits.connectMs / 1000} s`), limits.connectMs);
    const onAbort = (): void => finish("an abort signal");
    const finish = (failure?: string, cause?: unknown): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.destroy();
      if (failure === undefined) return resolve();
      reject(
        hubError(
          `Expected a connection to ${hostname}, received ${failure}. ` +
            "Check the network, set HF_ENDPOINT to a mirror, or bring the files over (docs/models.md).",
          { reason: "unreachable", retryable: false },
          cause,
        ),
      );
    };
    signal?.addEventListener("abort", onAbort);
    socket.once("connect", () => finish());
    socket.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? error.message, error));
  });
}
