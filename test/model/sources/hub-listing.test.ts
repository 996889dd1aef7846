import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveModel } from "#lib/model/sources/index.js";
import { LARGE, modelFiles, noise, startHub, temporaryFolder } from "./fixtures.js";
import { listEntry, sendJson, type HubServer } from "./hub-server.js";

async function hostileHub(answer: unknown): Promise<{ hub: HubServer; cacheDirectory: string }> {
  const hub = await startHub();
  hub.publish("acme/tiny", modelFiles());
  hub.intercept = ({ path }, response) => {
    if (!path.includes("/tree/")) return false;
    sendJson(response, answer);
    return true;
  };
  return { hub, cacheDirectory: await temporaryFolder() };
}

const GOOD = Object.entries(modelFiles()).map(([path, content]) => listEntry(path, Buffer.from(content)));

describe("a list of files that no honest hub sends", () => {
  it.each([
    "../../../evil.safetensors",
    "a/../../evil.json",
    "/etc/passwd",
    "..\\evil.json",
    "C:/evil.json",
    "C:evil.json",
    "./config.json",
    "a//b.json",
    "nul\u0000.json",
    "new\nline.json",
    "",
    "x".repeat(2000),
  ])("is refused as a whole for the path %j", async (path) => {
    const { hub, cacheDirectory } = await hostileHub([...GOOD, listEntry(path, LARGE)]);
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "answer", retryable: false },
    });
    expect(hub.contentRequests()).toEqual([]);
    expect(await readdir(cacheDirectory)).toEqual([]);
  });

  it.each<[string, Record<string, unknown>]>([
    ["a negative size", { size: -1 }],
    ["a fraction of a byte", { size: 1.5 }],
    ["a size as text", { size: "12" }],
    ["a size past all numbers", { size: 1e300 }],
    ["no checksum", { oid: undefined }],
    ["a checksum that is a path", { oid: "../../../../evil" }],
    ["an LFS checksum that is a path", { lfs: { oid: "../../evil", size: 10, pointerSize: 1 } }],
    ["a path that is no text", { path: 7 }],
  ])("is refused for %s", async (_, change) => {
    const { hub, cacheDirectory } = await hostileHub([{ ...GOOD[2], ...change }]);
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "answer" },
    });
    expect(hub.contentRequests()).toEqual([]);
  });

  it.each<[string, unknown]>([
    ["an object", { error: "x" }],
    ["null", null],
    ["a list of null", [null]],
  ])("is refused where it is %s", async (_, answer) => {
    const { cacheDirectory } = await hostileHub(answer);
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "answer" },
    });
  });

  it("is refused past 10,000 entries", async () => {
    const many = Array.from({ length: 10_001 }, (_, i) => listEntry(`file-${i}`, Buffer.from("")));
    const { cacheDirectory } = await hostileHub(many);
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("more than 10000 entries") as string,
    });
  });

  it("is given up where empty pages lead to further ones without end", async () => {
    const hub = await startHub();
    hub.publish("acme/tiny", modelFiles());
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/tree/")) return false;
      const next = `${hub.url}${path}?cursor=${hub.requests.length}`;
      response.writeHead(200, { "content-type": "application/json", link: `<${next}>; rel="next"` });
      response.end("[]");
      return true;
    };
    const cacheDirectory = await temporaryFolder();
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("at most 200 pages") as string,
      details: { reason: "answer", retryable: false },
    });
    expect(hub.requests.filter(({ path }) => path.includes("/tree/"))).toHaveLength(200);
    expect(hub.contentRequests()).toEqual([]);
  });

  it("may come in several pages", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", modelFiles());
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/tree/")) return false;
      const page = hub.requests.filter((seen) => seen.path.includes("/tree/")).length - 1;
      const link = `<${hub.url}/api/models/acme/tiny/tree/${commit}?cursor=${page}>; rel="next"`;
      response.writeHead(200, page < GOOD.length ? { link } : {});
      response.end(JSON.stringify(GOOD.slice(page, page + 1)));
      return true;
    };
    const model = await resolveModel("hf:acme/tiny", { cacheDirectory: await temporaryFolder() });
    expect(model.files.length).toBeGreaterThan(2);
  });

  it("does not lead to another host through its link to the next page", async () => {
    const hub = await startHub();
    hub.publish("acme/tiny", modelFiles());
    const elsewhere = await startHub();
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/tree/")) return false;
      response.writeHead(200, { link: `<${elsewhere.url}/api/models/acme/tiny/tree/x>; rel="next"` });
      response.end(JSON.stringify(GOOD));
      return true;
    };
    process.env.HF_ENDPOINT = hub.url;
    const cacheDirectory = await temporaryFolder();
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory, token: "t" })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("received a link to") as string,
    });
    expect(elsewhere.requests).toEqual([]);
  });
});

describe("other answers that are not the hub's", () => {
  it("refuses HTML in place of JSON, and a commit that is none", async () => {
    const hub = await startHub();
    const cacheDirectory = await temporaryFolder();
    hub.intercept = (_, response) => {
      response
        .writeHead(200, { "content-type": "text/html" })
        .end("<html>Log in to the company's proxy</html>");
      return true;
    };
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("Expected JSON") as string,
    });
    hub.intercept = (_, response) => {
      sendJson(response, { id: "acme/tiny", sha: "../../../evil" });
      return true;
    };
    await expect(resolveModel("hf:acme/tiny", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("Expected a commit") as string,
    });
  });

  it.each<[string, unknown]>([
    ["leads out of its folder", { weight_map: { a: "../../evil.safetensors" } }],
    ["names a file of another kind", { weight_map: { a: "evil.sh" } }],
    ["names a file that is not there", { weight_map: { a: "model-00009-of-00009.safetensors" } }],
    ["has no map", { metadata: {} }],
    ["has an empty map", { weight_map: {} }],
    ["maps to numbers", { weight_map: { a: 1 } }],
    ["is a list", []],
    ["is no JSON", undefined],
  ])("refuses an index that %s", async (_, index) => {
    const hub = await startHub();
    hub.publish("acme/sharded", {
      "config.json": "{}",
      "model.safetensors.index.json": index === undefined ? "{" : JSON.stringify(index),
      "model-00001-of-00001.safetensors": noise(100, "1"),
    });
    const cacheDirectory = await temporaryFolder();
    await expect(resolveModel("hf:acme/sharded", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_MODEL_FORMAT",
    });
    expect(hub.contentRequests()).toEqual(["model.safetensors.index.json all"]);
  });

  it("says what a repository lacks, or what it has instead", async () => {
    const hub = await startHub();
    hub.publish("acme/pickle", { "config.json": "{}", "pytorch_model.bin": LARGE });
    hub.publish("acme/readme", { "README.md": "" });
    hub.publish("acme/config", { "config.json": "{}" });
    const cacheDirectory = await temporaryFolder();
    const failure = (name: string): Promise<unknown> =>
      resolveModel(name, { cacheDirectory }).catch((e: unknown) => e);
    expect(await failure("hf:acme/pickle")).toMatchObject({
      code: "ERR_MODEL_UNSUPPORTED",
      message: expect.stringContaining("save_pretrained") as string,
    });
    expect(await failure("hf:acme/readme")).toMatchObject({ code: "ERR_MODEL_NOT_FOUND" });
    expect(await failure("hf:acme/config")).toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      message: expect.stringContaining("*.safetensors") as string,
    });
    expect(await readdir(join(cacheDirectory)).catch(() => [])).toEqual([]);
  });
});
