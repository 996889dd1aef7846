/** The header of a GGUF adapter: a key that is unknown or of another type is refused, never passed over. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { readGguf, writeGguf } from "../model/gguf-file.js";

const TOKENS = "adapter.alora.invocation_tokens";

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
});
afterAll(() => model?.dispose());

/** The activated adapter with another text of the same length for one of its own. */
function renamed(from: string, to: string): Buffer {
  const bytes = readFileSync(tinyGguf("activated-f16.gguf"));
  const at = bytes.indexOf(from);
  expect(at).toBeGreaterThan(0);
  expect(to).toHaveLength(from.length);
  bytes.write(to, at);
  return bytes;
}

test.each<[string, string, string]>([
  [TOKENS, "adapter.alora.invocation_tokenz", "ERR_ADAPTER_UNSUPPORTED"],
  ["adapter.lora.alpha", "adapter.lora.alphb", "ERR_ADAPTER_FORMAT"],
  ["adapter.type", "adapter.typf", "ERR_ADAPTER_FORMAT"],
  ["general.type", "general.typf", "ERR_ADAPTER_FORMAT"],
  ["general.architecture", "general.architecturf", "ERR_ADAPTER_UNSUPPORTED"],
])("%s called %s", async (from, to, code) => {
  expect((await failureOf(() => model.adapters.load("changed", renamed(from, to)))).code).toBe(code);
});

test("invocation tokens that are no token ids", async () => {
  const bytes = readFileSync(tinyGguf("activated-f16.gguf"));
  // Key, type (array: 9), type of its elements.
  const type = bytes.indexOf(TOKENS) + TOKENS.length;
  expect(bytes.readUInt32LE(type)).toBe(9);
  bytes.writeUInt32LE(6, type + 4); // float32
  const error = await failureOf(() => model.adapters.load("changed", bytes));
  expect(error.code).toBe("ERR_ADAPTER_FORMAT");
  expect(error.message).toContain(TOKENS);
});

test("the file as it is", async () => {
  const { invocationTokens } = await model.adapters.load("whole", tinyGguf("activated-f16.gguf"));
  expect(invocationTokens).toEqual([7, 11, 7]);
});

test("a matrix that several projections share has the rows of all of them, and no others", async () => {
  const base = await loadModel(tinyModel("phi3"), { threads: 1 });
  try {
    await base.adapters.load("whole", tinyGguf("phi3-f32.gguf"));
    const content = readGguf(readFileSync(tinyGguf("phi3-f32.gguf")));
    const [attention, feedForward] = ["blk.0.attn_qkv.weight.lora_b", "blk.0.ffn_up.weight.lora_b"] as const;
    const longer = content.tensors.get(feedForward)!;
    content.tensors.set(feedForward, content.tensors.get(attention)!);
    content.tensors.set(attention, longer);
    const error = await failureOf(() => base.adapters.load("swapped", writeGguf(content)));
    expect(error.code).toBe("ERR_ADAPTER_SHAPE");
    expect(error.message).toMatch(/Expected (?:80|112) rows .*received (?:80|112)\./);
  } finally {
    await base.dispose();
  }
});
