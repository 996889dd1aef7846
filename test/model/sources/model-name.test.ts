import { mkdir, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { MODEL_ALIASES, resolveModel, type ResolveModelOptions } from "#lib/model/sources/index.js";
import { parseModelName } from "#lib/model/sources/model-name.js";
import { isolateEnvironment, temporaryFolder } from "./fixtures.js";

describe("parseModelName", () => {
  it("tells hub names, paths and aliases apart", () => {
    const hub = (repo: string, revision?: string, file?: string): object => ({
      kind: "hub",
      repo,
      revision,
      file,
    });
    expect(parseModelName("hf:acme/tiny")).toEqual(hub("acme/tiny"));
    expect(parseModelName("hf:acme/tiny@v1.0")).toEqual(hub("acme/tiny", "v1.0"));
    expect(parseModelName("hf:acme/tiny@main/q/x.gguf")).toEqual(hub("acme/tiny", "main", "q/x.gguf"));
    expect(parseModelName("hf:datasets/tiny")).toEqual(hub("datasets/tiny"));
    for (const path of ["./a", "../a", "/a", "a/b", "~/a", "a.gguf", "a\\b", ".", "A.GGUF"]) {
      expect(parseModelName(path)).toEqual({ kind: "path", path });
    }
    for (const alias of MODEL_ALIASES) expect(parseModelName(alias.name)).toEqual({ kind: "alias", alias });
  });

  it.each([
    "",
    " ",
    "a\0b",
    "x".repeat(5000),
    "hf:",
    "hf:one",
    "hf:a/b/c.bin",
    "hf:a/../b.gguf",
    "hf:a/b/../../c.gguf",
    "hf:../b",
    "hf:a/..",
    "hf:a--b/c",
    "hf:a/b@",
    "hf:a/b@..",
    "hf:a/b@-x",
    "hf:a/b@a b",
    "hf:a/b?x",
    "https://host/acme/tiny",
    7,
    null,
    undefined,
    {},
  ])("refuses %j", (name) => {
    expect(() => parseModelName(name)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }) as Error,
    );
  });
});

describe("aliases", () => {
  it("are complete and consistent", () => {
    expect(MODEL_ALIASES.map(({ name }) => name)).toEqual(["smollm2-135m-instruct", "gemma3-270m"]);
    for (const alias of MODEL_ALIASES) {
      expect(parseModelName(`hf:${alias.hub.repo}@${alias.hub.revision}/${alias.file}`).kind).toBe("hub");
      expect(alias.wheels.reduce((sum, { entrySize }) => sum + entrySize, 0)).toBe(alias.size);
      for (const { sha256 } of [alias, ...alias.wheels]) expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    }
  });
});

describe("a local model", () => {
  const found = (name: string, options?: ResolveModelOptions): Promise<unknown> =>
    resolveModel(name, options).catch((error: unknown) => error);

  async function folderWith(files: Record<string, string>): Promise<string> {
    const folder = await temporaryFolder();
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    return folder;
  }

  it("is a folder with config.json and safetensors, also through links within the folder, as a mounted volume has them", async () => {
    isolateEnvironment();
    vi.stubEnv("HF_ENDPOINT", "nonsense"); // of no concern here
    const folder = await temporaryFolder();
    const source = join(folder, "..2026_12_01");
    await mkdir(source);
    const weights = await folderWith({ "model.safetensors": "" });
    for (const name of ["config.json", "tokenizer.json", "x.md"]) await writeFile(join(source, name), "{}");
    await symlink("..2026_12_01", join(folder, "..data"));
    for (const name of ["config.json", "tokenizer.json"])
      await symlink(join("..data", name), join(folder, name));
    await symlink(join(weights, "model.safetensors"), join(folder, "model.safetensors"));
    await symlink(join(source, "nothing"), join(folder, "generation_config.json"));
    expect(await resolveModel(folder)).toEqual({
      kind: "folder",
      path: folder,
      name: basename(folder),
      files: ["config.json", "tokenizer.json", "model.safetensors"].map((name) => join(folder, name)),
    });
  });

  it("takes the shards of the index, or the only safetensors file, and no adapter", async () => {
    const sharded = await folderWith({
      "config.json": "{}",
      "model.safetensors.index.json": '{"weight_map":{"a":"b.safetensors","b":"a.safetensors"}}',
      "a.safetensors": "",
      "b.safetensors": "",
      "c.safetensors": "",
    });
    const { files } = await resolveModel(sharded);
    expect(files.map((file) => basename(file))).toEqual(["config.json", "a.safetensors", "b.safetensors"]);
    const other = await folderWith({
      "config.json": "{}",
      "w.safetensors": "",
      "adapter_model.safetensors": "",
    });
    expect((await resolveModel(other)).files.map((file) => basename(file))).toEqual([
      "config.json",
      "w.safetensors",
    ]);
    expect(
      await found(await folderWith({ "config.json": "{}", "a.safetensors": "", "b.safetensors": "" })),
    ).toMatchObject({
      code: "ERR_MODEL_FORMAT",
    });
  });

  it("is a .gguf file", async () => {
    const folder = await folderWith({ "Tiny.Q8_0.gguf": "GGUF" });
    const path = join(folder, "Tiny.Q8_0.gguf");
    expect(await resolveModel(path)).toEqual({ kind: "gguf", path, name: "Tiny.Q8_0", files: [path] });
  });

  it("is the parts of a split .gguf file, by the first", async () => {
    const names = ["Tiny-00001-of-00002.gguf", "Tiny-00002-of-00002.gguf"];
    const folder = await folderWith({ [names[0]!]: "GGUF", [names[1]!]: "GGUF" });
    const files = names.map((name) => join(folder, name));
    expect(await resolveModel(files[0]!)).toEqual({ kind: "gguf", path: files[0], name: "Tiny", files });
    await expect(resolveModel(files[1]!)).rejects.toMatchObject({ code: "ERR_MODEL_FORMAT" });
    await expect(resolveModel(folder)).rejects.toMatchObject({
      message: expect.stringContaining(names[0]!) as string,
    });
    const lacking = await folderWith({ [names[0]!]: "GGUF" });
    await expect(resolveModel(join(lacking, names[0]!))).rejects.toMatchObject({
      code: "ERR_MODEL_FORMAT",
      message: expect.stringContaining(`${names[1]!} missing`) as string,
    });
  });

  it("says what is there in its place", async () => {
    const folder = await folderWith({
      "a.gguf": "GGUF",
      "adapter_config.json": "{}",
      "model.safetensors": "",
    });
    expect(await found(folder)).toMatchObject({
      code: "ERR_MODEL_FORMAT",
      message: expect.stringContaining("a.gguf") as string,
    });
    expect(await found(join(folder, "model.safetensors"))).toMatchObject({ code: "ERR_MODEL_FORMAT" });
    expect(await found(await folderWith({ "adapter_config.json": "{}" }))).toMatchObject({
      message: expect.stringContaining("adapters.load") as string,
    });
    expect(await found(await folderWith({ "config.json": "{}" }))).toMatchObject({
      code: "ERR_MODEL_FORMAT",
    });
    expect(await found(await folderWith({ "config.json": "{}", "pytorch_model.bin": "" }))).toMatchObject({
      code: "ERR_MODEL_UNSUPPORTED",
    });
    await mkdir(join(folder, "folder.gguf"));
    expect(await found(join(folder, "folder.gguf"))).toMatchObject({ code: "ERR_MODEL_FORMAT" });
  });

  it("that is not there is no model: what was tried and what can be written are named", async () => {
    const missing = join(await temporaryFolder(), "missing");
    expect(await found(missing)).toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      details: { tried: [missing] },
    });
    expect(await found("Acme/Tiny")).toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      message: expect.stringContaining("hf:Acme/Tiny") as string,
    });
    expect(await found(join(missing, "x.gguf"))).toMatchObject({ code: "ERR_MODEL_NOT_FOUND" });
  });

  it("is never looked for under a word alone", async () => {
    const error = await found("test"); // a folder of this name stands in the current one
    expect(error).toMatchObject({ code: "ERR_MODEL_NOT_FOUND" });
    for (const part of ["smollm2-135m-instruct", "./name", "hf:owner/name", "Tried"]) {
      expect((error as Error).message).toContain(part);
    }
  });
});

describe("options", () => {
  it.each<[string, unknown]>([
    ["options", null],
    ["options", 7],
    ["options.onProgress", { onProgress: "x" }],
    ["options.signal", { signal: {} }],
    ["options.cacheDirectory", { cacheDirectory: "" }],
    ["options.cacheDirectory", { cacheDirectory: "a\0b" }],
    ["options.revision", { revision: 7 }],
    ["options.revision", { revision: "../x" }],
    ["options.revision", { revision: "v2" }],
    ["options.token", { token: 7 }],
    ["options.offline", { offline: "yes" }],
  ])("refuses a wrong %s: %j", async (name, options) => {
    isolateEnvironment();
    const model = (options as { revision?: string } | null)?.revision === "v2" ? "hf:a/b@v1" : "hf:a/b";
    await expect(resolveModel(model, options as ResolveModelOptions)).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      details: { name },
    });
  });

  it("refuses a revision for a model that has none", async () => {
    for (const name of ["./x", "gemma3-270m"]) {
      await expect(resolveModel(name, { revision: "main" })).rejects.toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
      });
    }
  });
});
