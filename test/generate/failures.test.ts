/** Faults while text is made of tokens reach the request that they belong to, as coded errors, and nobody else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { AlteredModel } from "../model/altered-model.js";
import { failureOf, someTokens } from "./tiny-models.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 1 });
});
afterAll(() => model?.dispose());

test("a decoder that throws fails its request; others go on", async () => {
  const { decoder } = model.tokenizer;
  const good = decoder.appendNext.bind(decoder);
  const other = model.generate("One two three", { maxTokens: 40, ignoreEndOfText: true });
  let calls = 0;
  const bad = model.generate("Four five six", { maxTokens: 40, seed: 1 });
  decoder.appendNext = (...given) => {
    if (++calls === 30) throw new RangeError("Invalid string length");
    good(...given);
  };
  const results = await Promise.allSettled([bad.result(), other.result()]);
  decoder.appendNext = good;
  const failed = results.filter((result) => result.status === "rejected");
  expect(failed).toHaveLength(1);
  expect(failed[0]!.reason).toMatchObject({ code: "ERR_INTERNAL", cause: expect.any(RangeError) });
  expect((await model.generate("One", { maxTokens: 3 }).result()).tokens).toHaveLength(3);
});

test.each([-1, 0.5, NaN, 1e9, 2 ** 40])("token ids with a length of %d", async (length) => {
  const { code } = await failureOf(() => model.generate({ tokens: { length } }));
  expect(code).toBe(length === 1e9 || length === 2 ** 40 ? "ERR_CONTEXT_LENGTH" : "ERR_INVALID_ARGUMENT");
});

test("logits that are not finite are an error, not values", async () => {
  const altered = new AlteredModel();
  altered.editTensors((tensors) => {
    const gain = tensors.get("model.norm.weight")!;
    tensors.set("model.norm.weight", {
      dtype: "F32",
      shape: gain.shape,
      bytes: new Uint8Array(new Float32Array(gain.shape[0]!).fill(3e38).buffer),
    });
  });
  await using broken = await loadModel(altered.folder, { precision: "float32" });
  altered.remove();
  const tokens = someTokens(5, 1);
  expect(await failureOf(() => broken.logits(tokens))).toMatchObject({
    code: "ERR_INTERNAL",
    message: expect.stringContaining("finite"),
  });
});
