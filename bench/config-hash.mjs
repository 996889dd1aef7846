import { createHash } from "node:crypto";

/** A hash of what decides the numbers: model shape, precision, instruction set. Fidelity and benchmarks print the same one. */
export function configHash(model) {
  const {
    architecture,
    hiddenSize,
    layers,
    vocabularySize,
    precision,
    backend,
    instructionSet,
    weightBytes,
    kvBytesPerToken,
  } = model.facts;
  const config = [
    architecture,
    hiddenSize,
    layers,
    vocabularySize,
    precision,
    backend,
    instructionSet,
    weightBytes,
    kvBytesPerToken,
  ];
  return createHash("sha256").update(JSON.stringify(config)).digest("hex").slice(0, 16);
}
