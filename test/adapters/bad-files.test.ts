/** Adapter files that are cut, altered, of another kind or lead elsewhere. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf, tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { pairAdapter, type PeftAdapter } from "./forcing-adapter.js";

let model: Model;
let good: PeftAdapter;
beforeAll(async () => {
  model = await loadModel(tinyModel("llama"), { threads: 1 });
  good = pairAdapter(model.facts, 2, 1);
});
afterAll(async () => {
  expect(model.adapters.list()).toEqual([]);
  expect(model.memory().adapterBytes).toBe(0);
  await model.adapters.load("good", good);
  await model.dispose();
});

const load = (source: unknown): Promise<unknown> => model.adapters.load("bad", source as string);
const withWeights = (weights: Uint8Array): (() => Promise<unknown>) => {
  return () => load({ config: good.config, weights });
};

describe("safetensors", () => {
  test("cut short anywhere", async () => {
    const { length } = good.weights;
    const header = 8 + Number(Buffer.from(good.weights.buffer).readBigUInt64LE());
    const cuts = [0, 1, 7, 8, 9, header - 1, header, header + 1, length - 4, length - 1];
    for (let at = 0; at < length; at += Math.ceil(length / 150)) cuts.push(at);
    for (const at of cuts)
      expect((await failureOf(withWeights(good.weights.subarray(0, at)))).code, `at ${at}`).toBe(
        "ERR_ADAPTER_FORMAT",
      );
  });

  test("altered bytes of the header give an adapter or a coded error, never anything else", async () => {
    const header = 8 + Number(Buffer.from(good.weights.buffer).readBigUInt64LE());
    for (let i = 0; i < 300; i++) {
      const weights = good.weights.slice();
      weights[(i * 7919) % header] = (i * 31 + 17) & 255;
      const [outcome] = await Promise.allSettled([withWeights(weights)()]);
      if (outcome.status === "fulfilled") await model.adapters.unload("bad");
      else expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/^ERR_ADAPTER_/) as string });
    }
  });

  const file = (header: string | Buffer, length?: bigint, data = 0): Uint8Array => {
    const text = Buffer.from(header);
    const bytes = Buffer.alloc(8 + text.length + data);
    bytes.writeBigUInt64LE(length ?? BigInt(text.length));
    text.copy(bytes, 8);
    return new Uint8Array(bytes);
  };
  const one = (dtype: string, shape: string, offsets: string): string =>
    `{"x":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}}`;
  test.each<[string, Uint8Array]>([
    ["a header of 2^64-1 bytes", file("{}", (1n << 64n) - 1n)],
    ["a header of 2^40 bytes", file("{}", 1n << 40n)],
    ["a header longer than the file", file("{}", 3n)],
    ["a header of no bytes", file("")],
    ["no JSON", file("{,}")],
    ["JSON without end", file("[".repeat(200_000))],
    ["a number", file("5")],
    ["no UTF-8", file(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]))],
    ["offsets beyond the file", file(one("F32", "[4]", "[0,16]"), undefined, 8)],
    ["offsets backwards", file(one("F32", "[4]", "[16,0]"), undefined, 16)],
    ["offsets below zero", file(one("F32", "[4]", "[-16,0]"), undefined, 16)],
    ["offsets that do not fit the shape", file(one("F32", "[4]", "[0,12]"), undefined, 16)],
    ["a shape whose size overflows", file(one("F32", "[4294967296,4294967296]", "[0,0]"))],
    ["a shape below zero", file(one("F32", "[-4]", "[0,16]"), undefined, 16)],
    ["a dtype that does not exist", file(one("F33", "[4]", "[0,16]"), undefined, 16)],
    ["a hole between tensors", file(one("F32", "[2]", "[8,16]"), undefined, 16)],
    ["nothing at all", new Uint8Array(0)],
    ["a ZIP archive, as torch writes", new Uint8Array(Buffer.from("PK\x03\x04 and so on and on"))],
  ])("%s", async (_, weights) => {
    const error = await failureOf(withWeights(weights));
    expect(["ERR_ADAPTER_FORMAT", "ERR_ADAPTER_UNSUPPORTED"]).toContain(error.code);
  });

  test.each(["I64", "I32", "U8", "BOOL"])("%s in place of numbers", async (dtype) => {
    const size = { I64: 8, I32: 4, U8: 1, BOOL: 1 }[dtype]!;
    const text = Buffer.from(good.weights).toString("latin1");
    const header = text.slice(8, text.indexOf("}}") + 2);
    const parsed = JSON.parse(header) as Record<
      string,
      { dtype: string; data_offsets: number[]; shape: number[] }
    >;
    let offset = 0;
    for (const tensor of Object.values(parsed)) {
      const bytes = size * tensor.shape.reduce((product, n) => product * n, 1);
      Object.assign(tensor, { dtype, data_offsets: [offset, (offset += bytes)] });
    }
    const error = await failureOf(withWeights(file(JSON.stringify(parsed), undefined, offset)));
    expect(["ERR_ADAPTER_FORMAT", "ERR_ADAPTER_UNSUPPORTED"]).toContain(error.code);
  });
});

describe("GGUF", () => {
  let gguf: Model;
  const bytes = readFileSync(tinyGguf("plain-f32.gguf"));
  beforeAll(async () => {
    gguf = await loadModel(tinyGguf("llama-f16.gguf"), { threads: 1 });
  });
  afterAll(async () => {
    expect(gguf.adapters.list()).toEqual([]);
    await gguf.adapters.load("good", new Uint8Array(bytes));
    await gguf.dispose();
  });

  /** The file with one text replaced by another of the same length. */
  const replaced = (from: string, to: string): Uint8Array => {
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    expect(to).toHaveLength(from.length);
    const copy = Buffer.from(bytes);
    copy.write(to, at, "latin1");
    return new Uint8Array(copy);
  };

  test("cut short anywhere", async () => {
    for (let at = 4; at < bytes.length; at += Math.ceil(bytes.length / 150)) {
      const error = await failureOf(() => gguf.adapters.load("bad", new Uint8Array(bytes.subarray(0, at))));
      expect(error.code, `at ${at}`).toBe("ERR_ADAPTER_FORMAT");
    }
  });

  test.each<[string, () => Uint8Array, string]>([
    ["general.type", () => replaced("general.type", "general.tepy"), "ERR_ADAPTER_FORMAT"],
    ["adapter.type", () => replaced("adapter.type", "adapter.tepy"), "ERR_ADAPTER_FORMAT"],
    ["adapter.lora.alpha", () => replaced("adapter.lora.alpha", "adapter.lora.alhpa"), "ERR_ADAPTER_FORMAT"],
    [
      "an unknown tensor",
      () => replaced("attn_q.weight.lora_a", "attn_x.weight.lora_a"),
      "ERR_ADAPTER_UNSUPPORTED",
    ],
    [
      "a third half",
      () => replaced("attn_q.weight.lora_b", "attn_q.weight.lora_c"),
      "ERR_ADAPTER_UNSUPPORTED",
    ],
    ["a tensor twice", () => replaced("attn_q.weight.lora_b", "attn_q.weight.lora_a"), "ERR_ADAPTER_FORMAT"],
    ["a layer too many", () => replaced("blk.1.attn_q", "blk.9.attn_q"), "ERR_ADAPTER_UNSUPPORTED"],
    ["a model", () => new Uint8Array(readFileSync(tinyGguf("llama-f16.gguf"))), "ERR_ADAPTER_FORMAT"],
  ])("%s", async (_, make, code) => {
    expect((await failureOf(() => gguf.adapters.load("bad", make()))).code).toBe(code);
  });

  test("one of another architecture", async () => {
    const qwen = await loadModel(tinyModel("qwen2"), { threads: 1 });
    const error = await failureOf(() => qwen.adapters.load("bad", new Uint8Array(bytes)));
    expect(error.code).toBe("ERR_ADAPTER_UNSUPPORTED");
    await qwen.dispose();
  });
});

describe("sources", () => {
  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a number", 5],
    ["an empty path", ""],
    ["a path with a zero", "a\0b"],
    ["bytes that are no GGUF", new Uint8Array([1, 2, 3])],
    ["no bytes", new Uint8Array(0)],
    ["weights alone", { weights: new Uint8Array(1) }],
    ["weights that are no bytes", { config: {}, weights: [1, 2] }],
    ["a file of another kind", import.meta.filename],
  ])("%s", async (_, source) => {
    expect(["ERR_INVALID_ARGUMENT", "ERR_ADAPTER_FORMAT"]).toContain(
      (await failureOf(() => load(source))).code,
    );
  });
});

describe("folders", () => {
  let folder: string;
  const configPath = (): string => join(folder, "adapter_config.json");
  const weightsPath = (): string => join(folder, "adapter_model.safetensors");
  const code = async (): Promise<string> => (await failureOf(() => load(folder))).code;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "lowrank-adapter-"));
    writeFileSync(configPath(), JSON.stringify(good.config));
    writeFileSync(weightsPath(), good.weights);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("that are not there, or empty", async () => {
    expect((await failureOf(() => load(join(folder, "none")))).code).toBe("ERR_ADAPTER_NOT_FOUND");
    rmSync(weightsPath());
    expect(await code()).toBe("ERR_ADAPTER_NOT_FOUND");
  });

  test("a pickle is never opened, and the error tells what to do", async () => {
    rmSync(weightsPath());
    writeFileSync(join(folder, "adapter_model.bin"), "anything");
    const error = await failureOf(() => load(folder));
    expect(error.code).toBe("ERR_ADAPTER_UNSUPPORTED");
    expect(error.message).toContain("safe_serialization=True");
  });

  test("without their configuration, or with one that is no JSON", async () => {
    rmSync(configPath());
    expect(await code()).toBe("ERR_IO");
    for (const text of ["", "{", "[1", "\ufeff{}", '{"a": NaN}', Buffer.from([0x22, 0xff, 0x22])]) {
      writeFileSync(configPath(), text);
      expect(await code()).toBe("ERR_ADAPTER_FORMAT");
    }
    writeFileSync(configPath(), "[".repeat(500_000) + "]".repeat(500_000));
    expect(await code()).toBe("ERR_ADAPTER_FORMAT");
  });

  test("with a configuration beyond all bounds", async () => {
    truncateSync(configPath(), 2 ** 20 + 1);
    expect(await code()).toBe("ERR_ADAPTER_FORMAT");
    truncateSync(configPath(), 2 ** 40);
    expect(await code()).toBe("ERR_ADAPTER_FORMAT");
  });

  test("with weights beyond all bounds", async () => {
    truncateSync(weightsPath(), 2 ** 40);
    expect(await code()).toBe("ERR_ADAPTER_FORMAT");
  });

  test.skipIf(process.platform === "win32")("whose files are links that lead out of them", async () => {
    const outside = mkdtempSync(join(tmpdir(), "lowrank-outside-"));
    for (const path of [configPath(), weightsPath()]) {
      const target = join(outside, "target");
      copyFileSync(path, target);
      rmSync(path);
      symlinkSync(target, path);
      expect(await code()).toBe("ERR_ADAPTER_FORMAT");
      rmSync(path);
      symlinkSync("/dev/zero", path);
      expect(await code()).toBe("ERR_ADAPTER_FORMAT");
      rmSync(path);
      symlinkSync(path, path);
      expect(["ERR_IO", "ERR_ADAPTER_NOT_FOUND"]).toContain(await code());
      rmSync(path);
      copyFileSync(target, path);
    }
    rmSync(outside, { recursive: true });
    await load(folder);
    await model.adapters.unload("bad");
  });

  test.skipIf(process.platform === "win32")("a link within the hub's cache is followed", async () => {
    const repository = join(folder, "models--owner--name");
    const snapshot = join(repository, "snapshots", "abc");
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(join(repository, "blobs"));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      copyFileSync(join(folder, name), join(repository, "blobs", name));
      symlinkSync(join("..", "..", "blobs", name), join(snapshot, name));
    }
    await load(snapshot);
    await model.adapters.unload("bad");
  });

  test.skipIf(process.platform === "win32")("whose files are pipes or folders", async () => {
    for (const path of [configPath(), weightsPath()]) {
      const kept = readFileSync(path);
      rmSync(path);
      expect(spawnSync("mkfifo", [path]).status).toBe(0);
      expect(await code()).toBe("ERR_IO");
      rmSync(path);
      mkdirSync(path);
      expect(await code()).toBe("ERR_IO");
      rmSync(path, { recursive: true });
      writeFileSync(path, kept);
    }
  });

  test("a good one loads, also when it is gone afterwards", async () => {
    await load(folder);
    const before = await model.logits([1, 2, 3], { adapter: "bad" });
    rmSync(folder, { recursive: true });
    expect((await model.logits([1, 2, 3], { adapter: "bad" })).logits).toEqual(before.logits);
    await model.adapters.unload("bad");
  });
});
