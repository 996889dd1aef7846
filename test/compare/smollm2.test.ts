/** SmolLM2 with the demo adapters: chats, texts, a vocabulary of 49,152, the adapter's own answer as what is scored. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel, type Comparison, type Model } from "#lib/index.js";

const adapters = new URL("../../examples/adapters/", import.meta.url);
const { prompts } = JSON.parse(readFileSync(new URL("demo-prompts.json", adapters), "utf8")) as {
  prompts: { message: string }[];
};
let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { contextLength: 1024 });
  await model.adapters.load("order-json", new URL("order-json", adapters).pathname);
});
afterAll(() => model?.dispose());

const messages = [{ role: "user", content: prompts[0]!.message }];
const answerOf = ({ prompts: [first] }: Comparison): string => first!.tokens.map(({ text }) => text).join("");

describe("SmolLM2", () => {
  test("a chat that the adapter answers, its end token included", async () => {
    const found = await model.compare([{ messages }], [null, "order-json"], {
      reference: 1,
      generations: true,
      maxTokens: 80,
    });
    const { prompt, tokens, generations } = found.prompts[0]!;
    const answer = await model.chat(messages, { adapter: "order-json", maxTokens: 128 }).result();
    expect(prompt).toContain("<|im_start|>user\n");
    expect(answerOf(found)).toBe(`${answer.text}<|im_end|>`);
    expect(generations![1]).toEqual({
      text: answer.text,
      tokens: tokens.map(({ id }) => id),
      finishReason: "stop",
    });
    for (const { text, perVariant } of tokens) expect(perVariant[1]!.top1Text).toBe(text);
    // The base does not answer in JSON of its own accord.
    expect(found.summary[0]!.meanKl.value).toBeGreaterThan(0.1);
    expect(found.summary[0]!.meanLogprobDifference.value).toBeLessThan(-0.1);
    expect(found.toHtml()).toContain("&lt;|im_start|&gt;user");
  });

  test("texts: log-probabilities as score gives them, KL as the logits do", async () => {
    const [prompt, completion] = ["The sky is", " blue, and the grass is green.\n"];
    const found = await model.compare([{ prompt, completion }], [null, { name: "order-json", scale: 0.3 }]);
    expect(answerOf(found)).toBe(completion);
    const { promptTokens, tokens } = found.prompts[0]!;
    const ids = [...promptTokens, ...tokens.map(({ id }) => id)];
    const from = promptTokens.length - 1;
    const rows = [];
    for (const [variant, adapter] of [undefined, { name: "order-json", scale: 0.3 }].entries()) {
      const score = await model.score(prompt, completion, { adapter });
      score.tokens.forEach(({ logprob }, i) =>
        expect(tokens[i]!.perVariant[variant]!.logprob).toBeCloseTo(logprob, 5),
      );
      rows.push((await model.logits(ids, { adapter, from, to: ids.length - 1 })).logits);
    }
    const size = model.facts.vocabularySize;
    for (const [i, { perVariant }] of tokens.entries()) {
      const [a, b] = rows.map((row) => Float64Array.from(row.subarray(i * size, (i + 1) * size)));
      const logSumExp = (row: Float64Array): number =>
        Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      const [la, lb] = [logSumExp(a!), logSumExp(b!)];
      const kl = a!.reduce((sum, logit, id) => sum + Math.exp(logit - la) * (logit - la - (b![id]! - lb)), 0);
      expect(Math.abs(perVariant[1]!.kl - kl)).toBeLessThan(1e-10);
    }
  });
});
