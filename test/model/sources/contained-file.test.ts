/** Files of a model's folder: inside it, regular, of bounded size; anything else ends at once with an error. */
import { execFileSync } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadModel } from "#lib/index.js";
import { readContainedFile, resolveModel } from "#lib/model/sources/index.js";
import { AlteredModel } from "../altered-model.js";
import { temporaryFolder } from "./fixtures.js";

const formatError = (message: RegExp) =>
  expect.objectContaining({ code: "ERR_MODEL_FORMAT", message: expect.stringMatching(message) });

describe("readContainedFile", () => {
  it("reads a file, also an empty one, and tells one that is missing apart", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "a.json"), "{}");
    await writeFile(join(folder, "empty.json"), "");
    expect((await readContainedFile(folder, "a.json", 10))?.toString()).toBe("{}");
    expect((await readContainedFile(folder, "empty.json", 10))?.length).toBe(0);
    expect(await readContainedFile(folder, "b.json", 10)).toBeUndefined();
  });

  it("follows links inside the folder, also where the folder is a link itself", async () => {
    const home = await temporaryFolder();
    await mkdir(join(home, "volume", "..one"), { recursive: true });
    await writeFile(join(home, "volume", "..one", "a.json"), "1");
    await symlink("..one", join(home, "volume", "..data"));
    await symlink("..data/a.json", join(home, "volume", "a.json"));
    await symlink("volume", join(home, "link"));
    for (const folder of ["volume", "link"])
      expect((await readContainedFile(join(home, folder), "a.json", 10))?.toString()).toBe("1");
  });

  it("follows links of a hub's snapshot within the repository, at any depth, and no further", async () => {
    const cache = await temporaryFolder();
    const repository = join(cache, "models--acme--tiny");
    const snapshot = join(repository, "snapshots", "abc");
    const inner = join(snapshot, "onnx", "int8");
    await mkdir(inner, { recursive: true });
    await mkdir(join(repository, "blobs"));
    await mkdir(join(cache, "models--acme--tiny-other"));
    await writeFile(join(repository, "blobs", "1"), "mine");
    await writeFile(join(cache, "models--acme--tiny-other", "1"), "another's");
    await symlink("../../blobs/1", join(snapshot, "a.json"));
    await symlink("../../../../blobs/1", join(inner, "a.json"));
    await symlink("../../../models--acme--tiny-other/1", join(snapshot, "b.json"));
    expect((await readContainedFile(snapshot, "a.json", 10))?.toString()).toBe("mine");
    expect((await readContainedFile(inner, "a.json", 10))?.toString()).toBe("mine");
    await expect(readContainedFile(snapshot, "b.json", 10)).rejects.toEqual(
      formatError(/b\.json, received a link to .*models--acme--tiny-other/),
    );
  });

  it.each([
    ["a file outside", "/etc/hostname"],
    ["a device", "/dev/zero"],
    ["a neighbour whose name begins alike", "../NAME-2/a.json"],
  ])("refuses a link to %s, and names it", async (_, target) => {
    const folder = await temporaryFolder();
    await mkdir(`${folder}-2`);
    await writeFile(`${folder}-2/a.json`, "1");
    await symlink(target.replace("NAME", folder.slice(folder.lastIndexOf("/") + 1)), join(folder, "a.json"));
    await expect(readContainedFile(folder, "a.json", 10)).rejects.toEqual(
      formatError(/^Expected a file inside .* for a\.json, received a link to .+\./),
    );
  });

  it("refuses a pipe, a folder, and a file that is too large, without waiting", async () => {
    const folder = await temporaryFolder();
    execFileSync("mkfifo", [join(folder, "pipe.json")]);
    await mkdir(join(folder, "folder.json"));
    await writeFile(join(folder, "large.json"), "x".repeat(11));
    await expect(readContainedFile(folder, "pipe.json", 10)).rejects.toEqual(formatError(/regular file/));
    await expect(readContainedFile(folder, "folder.json", 10)).rejects.toEqual(formatError(/regular file/));
    await expect(readContainedFile(folder, "large.json", 10)).rejects.toEqual(
      formatError(/at most 10 bytes/),
    );
  });
});

describe("a model whose file is a pipe", () => {
  it.each(["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])(
    "%s: refused at once",
    async (name) => {
      const model = new AlteredModel();
      try {
        execFileSync("rm", ["-f", model.path(name)]);
        execFileSync("mkfifo", [model.path(name)]);
        await expect(loadModel(model.folder)).rejects.toEqual(formatError(/regular file/));
      } finally {
        model.remove();
      }
    },
    5_000,
  );

  it("a GGUF file", async () => {
    const path = join(await temporaryFolder(), "a.gguf");
    execFileSync("mkfifo", [path]);
    await expect(resolveModel(path)).rejects.toEqual(formatError(/regular file/));
  });
});

it.each(["config.json", "tokenizer.json"])(
  "a model whose %s leads out of the folder is refused",
  async (name) => {
    const model = new AlteredModel();
    try {
      execFileSync("rm", ["-f", model.path(name)]);
      await symlink("/etc/hostname", model.path(name));
      await expect(loadModel(model.folder)).rejects.toEqual(formatError(/link to \/etc\/hostname/));
    } finally {
      model.remove();
    }
  },
);
