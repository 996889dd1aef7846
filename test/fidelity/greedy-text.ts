/** Greedy texts against those of transformers and PEFT. */
import { expect } from "vitest";
import type { GenerateOptions, Model } from "#lib/index.js";

/** A golden text, and the gap of the top two logits before each of its tokens. */
export interface GreedyText {
  tokens: ArrayLike<number>;
  gaps: ArrayLike<number>;
}

/**
 * Expects every token. Only where the top two logits lie within `gap` either is right: the text then goes on from the golden token,
 * so that what follows is compared, too.
 */
export async function expectGreedyText(
  model: Model,
  prompt: readonly number[],
  golden: GreedyText,
  gap: number,
  options: GenerateOptions = {},
): Promise<void> {
  const expected = Array.from(golden.tokens);
  for (let done = 0; done < expected.length;) {
    const { tokens } = await model
      .generate(
        { tokens: [...prompt, ...expected.slice(0, done)] },
        { ...options, maxTokens: expected.length - done, temperature: 0, ignoreEndOfText: true },
      )
      .result();
    expect(tokens).toHaveLength(expected.length - done);
    const parting = expected.findIndex((token, i) => i >= done && token !== tokens[i - done]);
    if (parting < 0) return;
    if (!(golden.gaps[parting]! <= gap)) expect([...tokens]).toEqual(expected.slice(done));
    done = parting + 1;
  }
}
