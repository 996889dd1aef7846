// The models that are measured: SmolLM2-135M, and random weights in larger shapes, where llama.cpp, too, is bound by bytes.
import { modelFile } from "./model-file.mjs";
import { randomModel } from "./python.mjs";

export const MODELS = ["135m", "0.5b", "1.5b"];
const SMALLEST = "smollm2-135m-instruct";

/** By its short name: what the report calls it, its file (made where it is missing) and its facts. */
export async function benchModel(name, log) {
  if (name === "135m") return { name, title: SMALLEST, ...(await modelFile(SMALLEST)) };
  return { name, title: `qwen2.5-${name}, random weights`, ...(await modelFile(randomModel(name, log))) };
}
