import type { LeasedAdapters } from "../adapters/index.js";
import { throwIfAborted } from "../errors/check.js";
import { expected, LowrankError } from "../errors/index.js";
import { checkGenerateOptions } from "../generate/index.js";
import { Slices, type EngineClient, type Prompt } from "../client/index.js";
import { inTurns } from "./in-turns.js";
import type { CheckedCompareOptions } from "./options.js";
import type { ComparedGeneration } from "./result.js";

/** Token ids of what is compared on. */
export interface Text {
  prompt: Int32Array;
  completion: Int32Array;
  generated: boolean;
  /** By variant, where they were asked for. */
  generations: ComparedGeneration[] | undefined;
}

interface TokenisedPrompt {
  name: string;
  prompt: Int32Array;
  /** Undefined: the reference's answer is to be scored. */
  completion: Int32Array | undefined;
}

async function tokenise(client: EngineClient, options: CheckedCompareOptions): Promise<TokenisedPrompt[]> {
  const { addSpecialTokens, parseSpecialTokens, signal } = options;
  const { contextLength } = client.facts;
  const request = { cacheSalt: options.serving.cacheSalt, deadline: undefined, signal };
  const tokensOf = (
    text: Prompt,
    name: string,
    encoding: { addSpecialTokens: boolean; parseSpecialTokens: boolean },
  ): Promise<Int32Array> => client.prompts.tokens(client.prompts.check(text, name), encoding, request);
  const texts: TokenisedPrompt[] = [];
  const slices = new Slices(signal, "The comparison");
  for (const { name, prompt, completion } of options.prompts) {
    const before =
      "messages" in prompt
        ? await client.prompts.chatTokens(prompt.messages, { parseSpecialTokens }, request)
        : await tokensOf(prompt.text, name, { addSpecialTokens, parseSpecialTokens });
    const after =
      completion === undefined
        ? undefined
        : await tokensOf(completion, `${name}.completion`, { addSpecialTokens: false, parseSpecialTokens });
    if (before.length === 0) throw expected("at least one token", name, "");
    if (after?.length === 0) throw expected("at least one token", `${name}.completion`, "");
    // An answer has one token at least.
    const minTokens = before.length + Math.max(after?.length ?? 1, options.generations ? 1 : 0);
    if (minTokens > contextLength)
      throw new LowrankError(
        "ERR_CONTEXT_LENGTH",
        `Expected at most ${contextLength} tokens for ${name} with its completion, received ${minTokens}. ` +
          "Shorten it or load the model with a larger contextLength.",
      );
    texts.push({ name, prompt: before, completion: after });
    await slices.pause();
  }
  return texts;
}

/** Token ids of all texts, the answers among them generated. `variants` are the leased versions. */
export async function prepareTexts(
  client: EngineClient,
  options: CheckedCompareOptions,
  variants: readonly LeasedAdapters[],
): Promise<Text[]> {
  const { reference, signal } = options;
  const prompts = await tokenise(client, options);
  const jobs = prompts.flatMap(({ completion }, i) =>
    variants.flatMap((_, variant) =>
      options.generations || (variant === reference && !completion) ? [{ prompt: i, variant }] : [],
    ),
  );
  const answers = prompts.map((): ComparedGeneration[] => []);
  const answer = answering(client, options);
  let done = 0;
  await inTurns(jobs.length, client.facts.maxSequences, signal, async (job, stop) => {
    const { prompt, variant } = jobs[job]!;
    answers[prompt]![variant] = await answer(prompts[prompt]!.prompt, variants[variant]!, stop);
    throwIfAborted(stop, "The comparison");
    options.onProgress?.({ stage: "generate", done: ++done, total: jobs.length });
  });
  return prompts.map(({ prompt, completion }, i) => ({
    prompt,
    completion: completion ?? Int32Array.from(answers[i]![reference]!.tokens),
    generated: completion === undefined,
    generations: options.generations ? answers[i]! : undefined,
  }));
}

/** Answers a prompt greedily. */
function answering(
  client: EngineClient,
  { maxTokens, serving }: CheckedCompareOptions,
): (prompt: Int32Array, adapters: LeasedAdapters, signal: AbortSignal) => Promise<ComparedGeneration> {
  const { facts, tokenizer } = client;
  const greedy = checkGenerateOptions({ maxTokens, temperature: 0, seed: 0 }, facts.vocabularySize);
  const stopTokens = Int32Array.from(tokenizer?.eosTokenIds ?? []);
  return async (prompt, adapters, signal) => {
    const tokens: number[] = [];
    let finishReason: "stop" | "length" = "length";
    await client.run(
      {
        kind: "generate",
        tokens: prompt,
        maxTokens,
        stopTokens,
        choices: undefined,
        maxDraftTokens: greedy.promptLookup,
        sampling: greedy.sampling,
        topLogprobs: greedy.logprobs,
        ...serving,
      },
      adapters,
      signal,
      (event) => {
        if (event.tokens) tokens.push(...event.tokens);
        if (event.finish === "stop") finishReason = "stop";
      },
    );
    const skipIncomplete = finishReason === "length";
    return { text: tokenizer?.decode(tokens, { skipIncomplete }) ?? "", tokens, finishReason };
  };
}
