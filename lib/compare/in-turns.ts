/**
 * Does `count` pieces of work, at most `limit` at once. Where one fails, the others are aborted; when this rejects with the first
 * failure, all have ended.
 */
export async function inTurns(
  count: number,
  limit: number,
  signal: AbortSignal | undefined,
  work: (index: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const abort = (): void => stop.abort(signal!.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  let next = 0;
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < count && !failure) {
      try {
        await work(next++, stop.signal);
      } catch (error) {
        failure ??= { error };
        stop.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, count) }, worker));
  signal?.removeEventListener("abort", abort);
  if (failure) throw failure.error;
}
