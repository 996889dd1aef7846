// The largest difference to transformers' logits over the 20 prompts of test/golden/data/smollm2.
import { readFileSync } from "node:fs";

const folder = new URL("../test/golden/data/smollm2/", import.meta.url);

export async function goldenDifference(model, precision) {
  const manifest = JSON.parse(readFileSync(new URL("smollm2.golden.json", folder), "utf8"));
  const bytes = readFileSync(new URL("smollm2.golden.bin", folder));
  const floats = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const expected = manifest.precisions.find((entry) => entry.precision === precision);
  const { offset } = expected.fixedLogits;
  const count = manifest.fixedIds.length;
  let row = 0;
  let worst = 0;
  for (const { tokens } of manifest.prompts) {
    const { logits, vocabularySize } = await model.logits(tokens);
    for (let position = 0; position < tokens.length; position++, row++)
      for (const [i, id] of manifest.fixedIds.entries()) {
        const difference = Math.abs(
          logits[position * vocabularySize + id] - floats[offset + row * count + i],
        );
        if (!(difference <= worst)) worst = difference;
      }
  }
  return worst;
}
