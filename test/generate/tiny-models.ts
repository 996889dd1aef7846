/** What the tests of generation, adapters and models share: the small models, prompts for them, and failures by their code. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LowrankError, type Model } from "#lib/index.js";
import { DATA } from "../fidelity/golden.js";

export const tinyModel = (name: string): string => join(DATA, "tiny-models", name);
export const tinyGguf = (name: string): string => join(DATA, "tiny-gguf", name);
export const tinyAdapter = (name: string): string => join(DATA, "tiny-adapters", name);

/** `count` token ids below `below`, the same for the same seed. */
export function someTokens(count: number, seed: number, below = 256): number[] {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  });
}

/** The LowrankError that `action` throws or rejects with; anything else fails the test. */
export async function failureOf(action: () => unknown): Promise<LowrankError> {
  try {
    await action();
  } catch (error) {
    if (LowrankError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("Expected a LowrankError, nothing was thrown.");
}

/** Waits until no request is under way; fails after ten seconds. */
export async function untilIdle(model: Model): Promise<void> {
  for (let waited = 0; model.activeRequests > 0; waited++) {
    if (waited === 2000)
      throw new Error(`Expected an idle model, ${model.activeRequests} requests are left.`);
    await sleep(5);
  }
}

/** True where two arrays hold the same bits, NaN included. */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (array: Float32Array): Buffer =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}

export interface TensorLike {
  shape: number[];
  values: ArrayLike<number>;
}

/** A safetensors file of float32 tensors. */
export function safetensors(tensors: Record<string, TensorLike>): Uint8Array {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + 4 * values.length] };
    offset += 4 * values.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.alloc(8 + text.length + offset);
  bytes.writeBigUInt64LE(BigInt(text.length));
  text.copy(bytes, 8);
  let at = 8 + text.length;
  for (const { values } of Object.values(tensors)) {
    bytes.set(new Uint8Array(Float32Array.from(values).buffer), at);
    at += 4 * values.length;
  }
  return new Uint8Array(bytes);
}
