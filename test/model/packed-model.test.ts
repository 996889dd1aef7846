/** Packed weights and tokenizers on disk: the same model, sooner; and never a wrong one. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type LoadModelOptions } from "#lib/index.js";
import { failureOf, tinyGguf, tinyModel } from "../generate/tiny-models.js";
import { AlteredModel } from "./altered-model.js";

let folder: string;
let packedDirectory: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lowrank-packed-"));
  packedDirectory = join(folder, "packed");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const prompt = { tokens: [1, 2, 3, 4] };

/** What a load did, and what the model is like. */
async function facts(path: string, options: LoadModelOptions = {}) {
  await using model = await loadModel(path, { threads: 2, packedDirectory, ...options });
  const { tokens } = await model.generate(prompt, { maxTokens: 8 }).result();
  const checksum = await model.checksum();
  return { packed: model.facts.packedWeights, tokens, checksum };
}

const files = (suffix: string): string[] =>
  existsSync(packedDirectory) ? readdirSync(packedDirectory).filter((name) => name.endsWith(suffix)) : [];
const onlyFile = (suffix: string): string => {
  expect(files(suffix)).toHaveLength(1);
  return join(packedDirectory, files(suffix)[0]!);
};

describe("the second load", () => {
  test.each([
    ["a folder", tinyModel("llama")],
    ["a GGUF file", tinyGguf("llama-q8_0.gguf")],
  ])("of %s restores the very same model", async (_, path) => {
    const fresh = await facts(path, { packedDirectory: false });
    expect(fresh.packed).toBe("none");
    expect(await facts(path)).toEqual({ ...fresh, packed: "written" });
    expect(await facts(path)).toEqual({ ...fresh, packed: "restored" });
    onlyFile(".weights");
  });

  test("is another file for another instruction set", async () => {
    await facts(tinyModel("llama"));
    process.env["LOWRANK_ISA"] = "reference";
    try {
      expect((await facts(tinyModel("llama"))).packed).toBe("written");
    } finally {
      delete process.env["LOWRANK_ISA"];
    }
    expect((await facts(tinyModel("llama"))).packed).toBe("restored");
  });

  test("is another file for scale groups of another size", async () => {
    const { checksum } = await facts(tinyModel("llama"));
    process.env["LOWRANK_SCALE_GROUP"] = "64";
    try {
      const others = await facts(tinyModel("llama"));
      expect(others.packed).toBe("written");
      expect(others.checksum).not.toBe(checksum);
      expect(await facts(tinyModel("llama"))).toEqual({ ...others, packed: "restored" });
    } finally {
      delete process.env["LOWRANK_SCALE_GROUP"];
    }
    expect(await facts(tinyModel("llama"))).toMatchObject({ packed: "restored", checksum });
    expect(files(".weights")).toHaveLength(2);
  });

  test("knows a copy of the model by its content", async () => {
    await facts(tinyModel("llama"));
    const copy = new AlteredModel();
    try {
      expect((await facts(copy.folder)).packed).toBe("restored");
    } finally {
      copy.remove();
    }
  });

  test("does not mistake a changed model for the old one", async () => {
    const copy = new AlteredModel();
    try {
      const before = await facts(copy.folder);
      copy.editTensors((tensors) => {
        const { bytes } = tensors.get("model.norm.weight")!;
        bytes.set(bytes.subarray(0, 4), 8);
      });
      expect((await facts(copy.folder)).packed).toBe("written");
      copy.restore();
      expect(await facts(copy.folder)).toEqual({ ...before, packed: "restored" });
    } finally {
      copy.remove();
    }
  });
});

describe("nothing is kept", () => {
  test("of small models, unless a folder is named", async () => {
    process.env["XDG_CACHE_HOME"] = folder;
    try {
      await using model = await loadModel(tinyModel("llama"));
      expect(model.facts.packedWeights).toBe("none");
      expect(existsSync(join(folder, "lowrank"))).toBe(false);
    } finally {
      delete process.env["XDG_CACHE_HOME"];
    }
  });

  test("of the reference modes' weights", async () => {
    expect((await facts(tinyModel("llama"), { precision: "float32" })).packed).toBe("none");
    expect(files(".weights")).toEqual([]);
  });

  test("in a folder that cannot be made", async () => {
    writeFileSync(packedDirectory, "a file");
    expect((await facts(tinyModel("llama"))).packed).toBe("none");
  });

  test("after a failed load", async () => {
    const copy = new AlteredModel();
    try {
      copy.editConfig((config) => (config["hidden_size"] = 128));
      expect((await failureOf(() => facts(copy.folder))).code).toBe("ERR_MODEL_FORMAT");
      expect(files(".weights")).toEqual([]);
    } finally {
      copy.remove();
    }
  });

  test.each([true, "", 5, null, {}])("and %j is no folder", async (value) => {
    const failure = await failureOf(() => facts(tinyModel("llama"), { packedDirectory: value as never }));
    expect(failure.code).toBe("ERR_INVALID_ARGUMENT");
  });
});

describe("damage", () => {
  test("to the weights costs a fresh load, and is mended", async () => {
    const fresh = await facts(tinyModel("llama"));
    const path = onlyFile(".weights");
    const bytes = readFileSync(path);
    bytes[bytes.length - 100]! ^= 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    expect(await facts(tinyModel("llama"))).toEqual({ ...fresh, packed: "written" });
    expect((await facts(tinyModel("llama"))).packed).toBe("restored");
  });

  test("to the tokenizer, too", async () => {
    const path = tinyGguf("llama-q8_0.gguf");
    const encode = async (): Promise<number[]> => {
      await using model = await loadModel(path, { packedDirectory });
      return [...(await model.tokenize("Hello world"))];
    };
    const ids = await encode();
    const file = await until(() => onlyFile(".tokenizer"));
    expect(await encode()).toEqual(ids);
    const whole = readFileSync(file);
    for (const bytes of [Buffer.alloc(0), whole.subarray(0, 40), Buffer.concat([whole.subarray(1), whole])]) {
      writeFileSync(file, bytes);
      expect(await encode()).toEqual(ids);
      await until(() => expect(readFileSync(file).equals(whole)).toBe(true));
    }
  });

  test("to the memory of a model's hash is seen", async () => {
    const copy = new AlteredModel();
    try {
      const longAgo = new Date(Date.now() - 60_000);
      for (const name of readdirSync(copy.folder)) utimesSync(copy.path(name), longAgo, longAgo);
      await new Promise((resolve) => setTimeout(resolve, 2_100)); // ctime
      await facts(copy.folder);
      const sources = join(packedDirectory, "sources");
      const memo = join(sources, readdirSync(sources)[0]!);
      expect(readFileSync(memo, "utf8")).toMatch(/^[0-9a-f]{64}$/);
      appendFileSync(memo, "x");
      expect((await facts(copy.folder)).packed).toBe("restored");
      expect(readFileSync(memo, "utf8")).toMatch(/^[0-9a-f]{64}$/);
    } finally {
      copy.remove();
    }
  });
});

test("what nobody has used for a month is deleted, and nothing else", async () => {
  mkdirSync(join(packedDirectory, "sources"), { recursive: true });
  const old = new Date(Date.now() - 31 * 24 * 3600 * 1000);
  const name = "ab".repeat(32);
  const place = (file: string): string => {
    const path = join(packedDirectory, file);
    writeFileSync(path, "x");
    utimesSync(path, old, old);
    return path;
  };
  const unused = [
    `${name}.weights`,
    `${name}.tokenizer`,
    `${name}.weights.partial-12`,
    `sources/${name}`,
  ].map(place);
  const foreign = place("notes.txt");
  const fresh = place(`${name.replace("a", "c")}.weights`);
  utimesSync(fresh, new Date(), new Date());
  await facts(tinyModel("llama"));
  await until(() => expect(unused.filter((path) => existsSync(path))).toEqual([]));
  expect(existsSync(foreign)).toBe(true);
  expect(existsSync(fresh)).toBe(true);

  const path = files(".weights")
    .map((file) => join(packedDirectory, file))
    .find((file) => file !== fresh)!;
  utimesSync(path, old, old);
  await facts(tinyModel("llama"));
  await until(() => expect(Date.now() - statSync(path).mtimeMs).toBeLessThan(60_000));
});

test.skipIf(process.platform === "win32" || process.getuid?.() === 0)(
  "a folder that cannot be written is no error",
  async () => {
    mkdirSync(packedDirectory);
    chmodSync(packedDirectory, 0o500);
    expect((await facts(tinyModel("llama"))).packed).toBe("none");
  },
);

/** Repeats until `check` does not throw: what happens behind a load is soon there. */
async function until<T>(check: () => T): Promise<T> {
  for (let tries = 0; ; ++tries) {
    try {
      return check();
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
