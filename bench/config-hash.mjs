import { createHash } from "node:crypto";

const DECISIVE_FACTS = [
  "architecture",
  "hiddenSize",
  "layers",
  "vocabularySize",
  "precision",
  "backend",
  "instructionSet",
  "weightBytes",
  "kvBytesPerToken",
];

/** A hash of what decides the numbers: model shape, precision, instruction set. Fidelity and benchmarks print the same one. */
export function configHash({ facts }) {
  const values = DECISIVE_FACTS.map((name) => facts[name]);
  return createHash("sha256").update(JSON.stringify(values)).digest("hex").slice(0, 16);
}
