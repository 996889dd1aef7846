import { describe, expect, it } from "vitest";
import { GPUS } from "../../bench/cuda/gpus.mjs";
import { ASSUMPTIONS, timeOf, timeOfStep } from "../../bench/cuda/time-model.mjs";

const gpu = {
  multiprocessors: 100,
  bandwidth: 1e12,
  loadOfOne: 1e11,
  int8: 100e12,
  bf16: 50e12,
  dp4a: 10e12,
  float32: 10e12,
  mmaShare: 0.5,
};
const assumed = { bandwidth: 0.5, tensor: 0.5, cores: 0.5, launch: 1e-6, step: 1e-5 };
const nothing = { count: 1, read: 0, written: 0, int8_mma: 0, bf16_mma: 0, dp4a: 0, float32: 0 };
const op = (blocks: number, parts: object) => ({ ...nothing, launches: [{ blocks }], ...parts });

describe("the model of an op's time", () => {
  it("is its bytes over the bandwidth, or its operations over the peak, whichever is longer", () => {
    const memory = timeOf(op(1000, { read: 4e6, written: 1e6 }), gpu, assumed);
    expect(memory).toMatchObject({ busy: 1e-5, launch: 1e-6, bound: "memory" });
    expect(memory.seconds).toBeCloseTo(1.1e-5, 12);
    const tensor = timeOf(op(1000, { read: 5e6, int8_mma: 500e6, float32: 1e6 }), gpu, assumed);
    expect(tensor.busy).toBeCloseTo(2e-5, 12);
    expect(tensor.bound).toBe("int8 tensor cores");
    expect(timeOf(op(1000, { float32: 50e6 }), gpu, assumed)).toMatchObject({ bound: "CUDA cores" });
  });

  it("counts every launch, of every call", () => {
    const twice = { ...op(1, { count: 30 }), launches: [{ blocks: 1 }, { blocks: 2 }] };
    expect(timeOf(twice, gpu, assumed).launch).toBeCloseTo(60e-6, 12);
    expect(timeOf(twice, gpu, assumed).bound).toBe("launch");
  });

  it("lets the fullest multiprocessor decide over operations, and few of them over memory", () => {
    const whole = timeOf(op(100, { int8_mma: 1e9 }), gpu, assumed).busy;
    expect(timeOf(op(101, { int8_mma: 1e9 }), gpu, assumed).busy).toBeCloseTo((whole * 200) / 101, 12);
    expect(timeOf(op(50, { int8_mma: 1e9 }), gpu, assumed).busy).toBeCloseTo(2 * whole, 12);
    expect(timeOf(op(1, { read: 1e6 }), gpu, assumed).busy).toBeCloseTo(1e-5, 12);
    expect(timeOf(op(10, { read: 1e6 }), gpu, assumed).busy).toBeCloseTo(2e-6, 12);
  });

  it("adds up to a step", () => {
    const step = { sequences: 16, rows: 1, ops: [op(1000, { read: 5e6 }), op(1000, { read: 5e6 })] };
    const { seconds, tokens, ops } = timeOfStep(step, gpu, assumed);
    expect(seconds).toBeCloseTo(3.2e-5, 12);
    expect(tokens).toBeCloseTo(16 / 3.2e-5, 3);
    expect(ops).toHaveLength(2);
  });

  it("never promises more than a data sheet", () => {
    for (const one of GPUS) {
      const bytes = timeOf(op(1e6, { read: one.bandwidth }), one);
      const products = timeOf(op(1e6, { int8_mma: one.int8 }), one);
      expect(bytes.busy).toBeCloseTo(1 / ASSUMPTIONS.bandwidth, 6);
      expect(products.busy).toBeGreaterThanOrEqual(1 / ASSUMPTIONS.tensor);
    }
  });
});
