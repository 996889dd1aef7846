import type { TextProcessor } from "../tokenizer/index.js";

// Prose, numbers, quotation and code, as the study of the int8 recipe has it (test/golden/quantization_study.py).
const TEXT =
  "The river rose three metres in one night, and by morning the bridge was closed. " +
  'Order no. 4711: 12 valves at 38.50 EUR each, to be delivered on Monday. "Why not today?" she asked. ' +
  "def area(width, height): return width * height\n" +
  "First, check that the pump is switched off; then open the cover and replace the filter.";
const MAX_TOKENS = 96;

/** What runs through an int8 model while it is loaded, to find the outlier channels of its layers; [at most 96]. */
export async function calibrationTokens(text: TextProcessor | null): Promise<Int32Array> {
  if (text === null) return new Int32Array();
  try {
    return (await text.encode(TEXT, { addSpecialTokens: false })).slice(0, MAX_TOKENS);
  } catch {
    // A tokenizer that cannot do this says so where it is used; the engine has tokens of its own.
    return new Int32Array();
  }
}
