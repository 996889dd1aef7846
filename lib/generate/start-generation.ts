import type { EngineClient, TextRequest } from "../client/index.js";
import { expected } from "../errors/index.js";
import type { NativeEvent } from "../native/types.js";
import type { CheckedAnswerOptions } from "./options.js";

/** Token ids of the prompt. */
export type Tokenise = (request: TextRequest) => Promise<Int32Array>;

/** A request that the engine has. */
export interface StartedGeneration {
  cancel: () => void;
  /** Token ids that end the answer and are no part of it. */
  endTokens: ReadonlySet<number>;
}

/** Tokenises, waits for adapters and submits. `ended` is aborted where the generation ends before. */
export async function startGeneration(
  client: EngineClient,
  options: CheckedAnswerOptions,
  tokenise: Tokenise,
  onEvent: (event: NativeEvent) => void,
  ended: AbortSignal,
): Promise<StartedGeneration> {
  const lease = client.lease(options.adapter);
  const request = client.textRequest(options.serving, ended);
  try {
    const [tokens, choices] = await Promise.all([
      tokenise(request),
      options.choices === undefined
        ? undefined
        : client.prompts.textsTokens(options.choices, "choices", request),
      lease.ready(ended, options.serving.timeoutMs),
    ]);
    if (tokens.length === 0) throw expected("at least one token", "prompt", "");
    const endOfText = options.ignoreEndOfText ? [] : (client.tokenizer?.eosTokenIds ?? []);
    const endTokens = new Set<number>([...endOfText, ...options.stopTokens]);
    const cancel = client.submit(
      {
        kind: "generate",
        tokens,
        maxTokens: options.maxTokens,
        stopTokens: Int32Array.from(endTokens),
        choices,
        maxDraftTokens: options.promptLookup,
        sampling: options.sampling,
        topLogprobs: options.logprobs,
        ...options.serving,
      },
      lease,
      onEvent,
      request.deadline,
    );
    return { cancel, endTokens };
  } catch (error) {
    lease.release();
    throw error;
  }
}
