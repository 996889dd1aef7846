import { lstat, mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { resolveModel } from "#lib/model/sources/index.js";
import { LARGE, modelFiles, noise, recorder, sha256, startHub, temporaryFolder } from "./fixtures.js";
import { gitId, sendJson } from "./hub-server.js";

const NEEDED = [
  "config.json",
  "chat_template.jinja",
  "generation_config.json",
  "special_tokens_map.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "model.safetensors",
];

describe("a folder model from the hub", () => {
  it("brings its additional chat templates along", async () => {
    const hub = await startHub();
    const template = "additional_chat_templates/tool_use.jinja";
    const commit = hub.publish("acme/named", {
      ...modelFiles(),
      [template]: "{{ tools }}",
      "other/x.jinja": "x",
    });
    const cacheDirectory = await temporaryFolder();
    const model = await resolveModel("hf:acme/named", { cacheDirectory });
    const snapshot = join(cacheDirectory, "models--acme--named", "snapshots", commit);
    expect(model.files.map((path) => path.slice(snapshot.length + 1)).sort()).toEqual(
      [...NEEDED, template].sort(),
    );
    expect(await readFile(join(snapshot, template), "utf8")).toBe("{{ tools }}");
    expect((await resolveModel("hf:acme/named", { cacheDirectory, offline: true })).files.sort()).toEqual(
      [...model.files].sort(),
    );
  });

  it("brings the needed files, and only these, into the hub's cache layout", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", modelFiles());
    const cacheDirectory = await temporaryFolder();
    const { events, onProgress } = recorder();
    const model = await resolveModel("hf:acme/tiny", { cacheDirectory, onProgress });

    const storage = join(cacheDirectory, "models--acme--tiny");
    const snapshot = join(storage, "snapshots", commit);
    expect(model).toEqual({
      kind: "folder",
      path: snapshot,
      name: "acme/tiny",
      revision: commit,
      files: NEEDED.map((name) => join(snapshot, name)),
    });
    expect((await readdir(snapshot)).sort()).toEqual([...NEEDED].sort());
    for (const name of NEEDED) {
      expect(sha256(await readFile(join(snapshot, name)))).toBe(sha256(modelFiles()[name]!));
    }
    expect(await readFile(join(storage, "refs", "main"), "utf8")).toBe(commit);

    const weights = sha256(LARGE);
    expect(await readlink(join(snapshot, "model.safetensors"))).toBe(join("..", "..", "blobs", weights));
    const blobs = await readdir(join(storage, "blobs"));
    expect(blobs).toContain(weights);
    expect(blobs).toContain(gitId(Buffer.from("{{ messages }}")));
    expect(blobs.filter((name) => name.includes("incomplete"))).toEqual([]);
    expect(await readdir(join(cacheDirectory, ".locks", "models--acme--tiny"))).toEqual([]);

    const downloads = events.filter(
      (event) => event.stage === "download" && event.file === "model.safetensors",
    );
    expect(downloads[0]).toEqual({
      stage: "download",
      file: "model.safetensors",
      receivedBytes: 0,
      totalBytes: 300_000,
    });
    expect(downloads.at(-1)).toMatchObject({ receivedBytes: 300_000, totalBytes: 300_000 });
  });

  it("asks again only for the commit, and for nothing where the commit is given", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", modelFiles());
    const cacheDirectory = await temporaryFolder();
    const first = await resolveModel("hf:acme/tiny", { cacheDirectory });
    hub.requests.length = 0;
    expect(await resolveModel("hf:acme/tiny", { cacheDirectory })).toEqual(first);
    expect(hub.contentRequests()).toEqual([]);
    hub.requests.length = 0;
    expect(await resolveModel(`hf:acme/tiny@${commit}`, { cacheDirectory })).toEqual(first);
    expect(await resolveModel("hf:acme/tiny", { cacheDirectory, revision: commit })).toEqual(first);
    expect(hub.requests).toEqual([]);
  });

  it("shares unchanged files with a new commit of the same branch", async () => {
    const hub = await startHub();
    const old = hub.publish("acme/tiny", modelFiles());
    const cacheDirectory = await temporaryFolder();
    await resolveModel("hf:acme/tiny", { cacheDirectory });
    const now = hub.publish("acme/tiny", { ...modelFiles(), "config.json": '{"model_type":"qwen2"}' });
    hub.requests.length = 0;
    const model = await resolveModel("hf:acme/tiny", { cacheDirectory });
    expect(model.revision).toBe(now);
    expect(now).not.toBe(old);
    expect(hub.contentRequests()).toEqual(["config.json all"]);
    expect(await readFile(join(model.path, "config.json"), "utf8")).toContain("qwen2");
  });

  it("takes the shards that the index names", async () => {
    const hub = await startHub();
    const rest = modelFiles();
    delete rest["model.safetensors"];
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const index = JSON.stringify({ weight_map: { a: shards[1], b: shards[0], c: shards[1] } });
    hub.publish("acme/sharded", {
      ...rest,
      "model.safetensors.index.json": index,
      [shards[0]!]: noise(5000, "1"),
      [shards[1]!]: noise(5000, "2"),
      "consolidated.safetensors": noise(9000, "copy"),
    });
    const model = await resolveModel("hf:acme/sharded", { cacheDirectory: await temporaryFolder() });
    expect(model.files.slice(-2).map((file) => basename(file))).toEqual(shards);
    expect(hub.contentRequests().some((request) => request.startsWith("consolidated"))).toBe(false);
  });

  it("writes a branch with slashes below refs/", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", modelFiles());
    // As on the real hub, the revision is one percent-encoded part of the path.
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/revision/refs/pr/1")) return false;
      sendJson(response, { _id: "1", id: "acme/tiny", sha: commit });
      return true;
    };
    const cacheDirectory = await temporaryFolder();
    const model = await resolveModel("hf:acme/tiny", { cacheDirectory, revision: "refs/pr/1" });
    expect(model.revision).toBe(commit);
    const ref = join(cacheDirectory, "models--acme--tiny", "refs", "refs", "pr", "1");
    expect(await readFile(ref, "utf8")).toBe(commit);
  });
});

describe("a GGUF model from the hub", () => {
  it("brings the file that is named, also from a folder of the repository", async () => {
    const hub = await startHub();
    hub.publish("acme/gguf", { "a.gguf": LARGE, "deep/b c.gguf": noise(9000, "b"), "config.json": "{}" });
    const cacheDirectory = await temporaryFolder();
    const model = await resolveModel("hf:acme/gguf/deep/b c.gguf", { cacheDirectory });
    expect(model.kind).toBe("gguf");
    expect(model.files).toEqual([model.path]);
    expect(sha256(await readFile(model.path))).toBe(sha256(noise(9000, "b")));
    expect(hub.contentRequests()).toEqual(["b c.gguf all"]);
    // A small file comes without a redirect and is checked by git's id.
    expect((await lstat(model.path)).isSymbolicLink()).toBe(true);
  });

  it("takes the only GGUF file, and lists them where there are several", async () => {
    const hub = await startHub();
    hub.publish("acme/one", { "a.gguf": LARGE, "README.md": "" });
    hub.publish("acme/two", { "a.gguf": LARGE, "b.gguf": LARGE });
    const cacheDirectory = await temporaryFolder();
    expect(basename((await resolveModel("hf:acme/one", { cacheDirectory })).path)).toBe("a.gguf");
    await expect(resolveModel("hf:acme/two", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      message: expect.stringContaining("hf:acme/two/a.gguf, hf:acme/two/b.gguf") as string,
    });
    await expect(resolveModel("hf:acme/one/b.gguf", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
    });
  });

  it("brings all parts of a split one, and takes them for one model", async () => {
    const hub = await startHub();
    const names = [1, 2, 3].map((number) => `big-0000${number}-of-00003.gguf`);
    hub.publish("acme/split", Object.fromEntries(names.map((name) => [name, noise(9000, name)])));
    const cacheDirectory = await temporaryFolder();
    const model = await resolveModel("hf:acme/split", { cacheDirectory });
    expect(model.path).toBe(model.files[0]);
    expect(model.files.map((file) => basename(file))).toEqual(names);
    for (const file of model.files)
      expect(sha256(await readFile(file))).toBe(sha256(noise(9000, basename(file))));

    const first = `hf:acme/split/${names[0]!}`;
    expect((await resolveModel(first, { cacheDirectory, offline: true })).files).toEqual(model.files);
    await rm(model.files[1]!);
    await expect(resolveModel(first, { cacheDirectory, offline: true })).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
    });
    await resolveModel(first, { cacheDirectory });
    expect(sha256(await readFile(model.files[1]!))).toBe(sha256(noise(9000, names[1]!)));
    await expect(resolveModel(`hf:acme/split/${names[1]!}`, { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_FORMAT",
      message: expect.stringContaining(names[0]!) as string,
    });
  });

  it("names the parts that a repository lacks", async () => {
    const hub = await startHub();
    hub.publish("acme/split", { "big-00001-of-00003.gguf": LARGE, "big-00003-of-00003.gguf": LARGE });
    await expect(
      resolveModel("hf:acme/split", { cacheDirectory: await temporaryFolder() }),
    ).rejects.toMatchObject({
      code: "ERR_MODEL_FORMAT",
      message: expect.stringContaining("big-00002-of-00003.gguf missing") as string,
    });
    expect(hub.contentRequests()).toEqual([]);
  });
});

describe("the environment", () => {
  it("puts the cache where HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME say, read at each call", async () => {
    const hub = await startHub();
    hub.publish("acme/one", { "a.gguf": LARGE });
    const folder = await temporaryFolder();
    const found = async (): Promise<string> => (await resolveModel("hf:acme/one")).path;
    vi.stubEnv("XDG_CACHE_HOME", join(folder, "xdg"));
    expect(await found()).toContain(join(folder, "xdg", "huggingface", "hub", "models--acme--one"));
    vi.stubEnv("HF_HOME", join(folder, "home"));
    expect(await found()).toContain(join(folder, "home", "hub", "models--acme--one"));
    vi.stubEnv("HF_HUB_CACHE", join(folder, "cache"));
    expect(await found()).toContain(join(folder, "cache", "models--acme--one"));
    vi.stubEnv("HF_HUB_CACHE", "");
    expect(await found()).toContain(join(folder, "home", "hub"));
  });

  it("sends HF_TOKEN to the endpoint and to no other host", async () => {
    const hub = await startHub();
    hub.publish("acme/one", { "a.gguf": LARGE });
    vi.stubEnv("HF_TOKEN", "mirror-token\n");
    await resolveModel("hf:acme/one", { cacheDirectory: await temporaryFolder() });
    const sent = (host: string): unknown[] =>
      hub.requests.filter((request) => request.host === host).map(({ authorization }) => authorization);
    expect(sent("hub")).toEqual(Array(3).fill("Bearer mirror-token"));
    expect(sent("content")).toEqual([undefined]);
    await resolveModel("hf:acme/one", { cacheDirectory: await temporaryFolder(), token: "own" });
    expect(sent("hub").at(-1)).toBe("Bearer own");
  });

  it("reads the stored token, and refuses one that is no token without showing it", async () => {
    const hub = await startHub();
    hub.publish("acme/one", { "a.gguf": LARGE });
    const home = await temporaryFolder();
    vi.stubEnv("HF_HOME", home);
    await writeFile(join(home, "token"), "stored");
    await resolveModel("hf:acme/one");
    expect(hub.requests[0]!.authorization).toBe("Bearer stored");
    const failure = await resolveModel("hf:acme/one", { token: "sec\nret" }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    expect((failure as Error).message).not.toMatch(/sec|ret"/);
  });

  it("may name a cache that cannot be written: ERR_IO, with the path", async () => {
    const hub = await startHub();
    hub.publish("acme/one", { "a.gguf": LARGE });
    const file = join(await temporaryFolder(), "file");
    await writeFile(file, "");
    vi.stubEnv("HF_HUB_CACHE", join(file, "hub"));
    await expect(resolveModel("hf:acme/one")).rejects.toMatchObject({
      code: "ERR_IO",
      message: expect.stringContaining("HF_HOME") as string,
      details: { errno: "ENOTDIR" },
    });
  });

  it("refuses an endpoint that is not a plain URL, without showing it", async () => {
    await startHub();
    for (const endpoint of ["ftp://x", "nonsense", "https://user:secret@host", "https://host/?q=secret"]) {
      vi.stubEnv("HF_ENDPOINT", endpoint);
      const failure = await resolveModel("hf:acme/one").catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "ERR_INVALID_ARGUMENT", details: { name: "HF_ENDPOINT" } });
      expect((failure as Error).message).not.toContain("secret");
    }
  });
});

describe("offline", () => {
  it("uses a warm cache without a request and says what is missing in a cold one", async () => {
    const hub = await startHub();
    hub.publish("acme/tiny", modelFiles());
    hub.publish("acme/one", { "a.gguf": LARGE });
    const cacheDirectory = await temporaryFolder();
    const folder = await resolveModel("hf:acme/tiny", { cacheDirectory });
    const file = await resolveModel("hf:acme/one", { cacheDirectory });
    hub.requests.length = 0;
    expect(await resolveModel("hf:acme/tiny", { cacheDirectory, offline: true })).toEqual(folder);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await resolveModel("hf:acme/one", { cacheDirectory })).toEqual(file);
    await expect(resolveModel("hf:acme/tiny@v2", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      message: expect.stringContaining("HF_HUB_OFFLINE") as string,
    });
    await rm(join(folder.path, "model.safetensors"));
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
    });
    expect(hub.requests).toEqual([]);
  });

  it("falls back to the cached revision while the hub is down, and says so", async () => {
    const hub = await startHub();
    hub.publish("acme/tiny", modelFiles());
    const cacheDirectory = await temporaryFolder();
    const model = await resolveModel("hf:acme/tiny", { cacheDirectory });
    await hub.close();
    const { events, onProgress } = recorder();
    expect(await resolveModel("hf:acme/tiny", { cacheDirectory, onProgress })).toEqual(model);
    expect(events).toEqual([
      { stage: "fallback", source: "cache", reason: expect.stringContaining("ECONNREFUSED") as string },
    ]);
    await expect(resolveModel("hf:acme/other", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "unreachable" },
    });
  });

  it("does not take a snapshot for complete that another program filled in part", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", modelFiles());
    const cacheDirectory = await temporaryFolder();
    const snapshot = join(cacheDirectory, "models--acme--tiny", "snapshots", commit);
    await mkdir(snapshot, { recursive: true });
    await writeFile(join(snapshot, "config.json"), "{}");
    await writeFile(join(snapshot, "model.safetensors"), LARGE);
    const model = await resolveModel(`hf:acme/tiny@${commit}`, { cacheDirectory });
    expect(model.files.map((file) => basename(file))).toEqual(NEEDED);
    expect(hub.contentRequests()).not.toContain("model.safetensors all");
  });
});
