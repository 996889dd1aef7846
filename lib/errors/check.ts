import { expected, LowrankError } from "./index.js";

/** More token ids than any context holds. */
const MAX_TOKENS = 2 ** 24;

/** Token ids from any array-like, each an integer from 0 to `vocabularySize - 1`. Throws ERR_CONTEXT_LENGTH for more than `maxTokens`. */
export function checkTokens(
  name: string,
  value: unknown,
  vocabularySize: number,
  maxTokens = MAX_TOKENS,
): Int32Array {
  const list = value as ArrayLike<number> | undefined;
  if (typeof list !== "object" || list === null || !Number.isInteger(list.length) || list.length < 0)
    throw expected("an array of token ids", name, value);
  if (list.length > maxTokens)
    throw new LowrankError(
      "ERR_CONTEXT_LENGTH",
      `Expected at most ${maxTokens} tokens for ${name}, received ${list.length}.`,
      { details: { name, maxTokens } },
    );
  const tokens = new Int32Array(list.length);
  for (let i = 0; i < tokens.length; i++) {
    const token = list[i];
    if (!Number.isInteger(token) || token! < 0 || token! >= vocabularySize)
      throw expected(`an integer from 0 to ${vocabularySize - 1}`, `${name}[${i}]`, token);
    tokens[i] = token!;
  }
  return tokens;
}

/** Throws ERR_ABORTED, with the signal's reason as cause, where the signal is aborted. `what` begins the sentence. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted)
    throw new LowrankError("ERR_ABORTED", `${what} was aborted.`, { cause: signal.reason });
}
