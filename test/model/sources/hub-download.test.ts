import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { resolveHubModel } from "#lib/model/sources/hub-model.js";
import { resolveModel } from "#lib/model/sources/index.js";
import { createSourceContext } from "#lib/model/sources/source-context.js";
import { isolateEnvironment, noise, recorder, sha256, startHub, temporaryFolder } from "./fixtures.js";
import { rangeStart, sendContent, type HubServer } from "./hub-server.js";

const BIG = noise(3_000_000, "big");
const MODEL = { repo: "acme/big", revision: "main", file: "big.gguf" };

/** Limits for tests; the defaults are in DEFAULT_HUB_LIMITS. */
const QUICK = { retryDelayMs: 5 };
const IMPATIENT = { ...QUICK, stallMs: 600, responseMs: 600, connectMs: 600 };

async function bigHub(): Promise<{ hub: HubServer; cacheDirectory: string; blobs: string; blob: string }> {
  const hub = await startHub();
  hub.publish("acme/big", { "big.gguf": BIG });
  const cacheDirectory = await temporaryFolder();
  const blobs = join(cacheDirectory, "models--acme--big", "blobs");
  return { hub, cacheDirectory, blobs, blob: join(blobs, sha256(BIG)) };
}

/** Lets the content of the n-th request (from 0) end after `bytes[n]` bytes with a broken connection. */
function cutContent(hub: HubServer, bytes: readonly number[]): void {
  let request = 0;
  hub.intercept = ({ host, range }, response, content) => {
    if (host !== "content" || content === undefined || request >= bytes.length) return false;
    const length = bytes[request++]!;
    const start = rangeStart(range);
    response.writeHead(range === undefined ? 200 : 206, {
      "content-length": content.length - start,
      "content-range": `bytes ${start}-${content.length - 1}/${content.length}`,
    });
    response.write(content.subarray(start, start + length), () => response.destroy());
    return true;
  };
}

const ranges = (hub: HubServer): (string | undefined)[] =>
  hub.requests.filter(({ host }) => host === "content").map(({ range }) => range);

describe("a download that is cut", () => {
  it("goes on where the connection broke, within one call", async () => {
    const { hub, cacheDirectory } = await bigHub();
    cutContent(hub, [1_000_000, 500_000]);
    const model = await resolveHubModel(MODEL, await createSourceContext({ cacheDirectory }, QUICK));
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    const [first, second, third] = ranges(hub);
    expect(first).toBeUndefined();
    // What the cut connection still held may be lost, but not the bulk of it.
    expect(rangeStart(second)).toBeGreaterThan(900_000);
    expect(rangeStart(third)).toBeGreaterThan(rangeStart(second));
    expect(second).toMatch(/^bytes=\d+-2999999$/);
  });

  it("gives up after retries without progress, keeps what came, and resumes in the next call", async () => {
    const { hub, cacheDirectory, blobs, blob } = await bigHub();
    cutContent(hub, [2_000_000, 0, 0, 0, 0, 0, 0, 0]);
    const context = await createSourceContext({ cacheDirectory }, QUICK);
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "network", retryable: true },
    });
    expect(ranges(hub).length).toBeLessThanOrEqual(6);
    expect(await readdir(blobs)).toEqual([`${sha256(BIG)}.released.incomplete`]);

    hub.intercept = () => false;
    hub.requests.length = 0;
    const { events, onProgress } = recorder();
    await resolveHubModel(MODEL, await createSourceContext({ cacheDirectory, onProgress }, QUICK));
    expect(sha256(await readFile(blob))).toBe(sha256(BIG));
    expect(rangeStart(ranges(hub)[0])).toBeGreaterThan(1_900_000);
    expect(events[0]).toMatchObject({ stage: "verify" });
    const download = events.find((event) => event.stage === "download");
    expect(download).toMatchObject({ receivedBytes: rangeStart(ranges(hub)[0]), totalBytes: 3_000_000 });
    expect(await readdir(blobs)).toEqual([sha256(BIG)]);
  });

  it("starts anew where the server ignores ranges", async () => {
    const { hub, cacheDirectory } = await bigHub();
    let request = 0;
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200, { "content-length": content.length });
      if (request++ === 0) response.write(content.subarray(0, 1_000_000), () => response.destroy());
      else response.end(content);
      return true;
    };
    const model = await resolveHubModel(MODEL, await createSourceContext({ cacheDirectory }, QUICK));
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    expect(ranges(hub)).toHaveLength(3); // cut, answered with the whole, the whole
  });

  it("takes over the partial file of a process that is gone, and drops a bad one", async () => {
    const { hub, cacheDirectory, blobs, blob } = await bigHub();
    await mkdir(blobs, { recursive: true });
    const context = await createSourceContext({ cacheDirectory }, QUICK);
    await writeFile(`${blob}.released.incomplete`, BIG.subarray(0, 2_500_000));
    await resolveHubModel(MODEL, context);
    expect(ranges(hub)).toEqual(["bytes=2500000-2999999"]);

    hub.requests.length = 0;
    await rename(blob, `${blob}.released.incomplete`);
    await writeFile(`${blob}.released.incomplete`, noise(2_500_000, "other"));
    await resolveHubModel(MODEL, context);
    expect(sha256(await readFile(blob))).toBe(sha256(BIG));
    expect(ranges(hub)).toEqual(["bytes=2500000-2999999", undefined]);
  });
});

describe("bytes that are not the announced ones", () => {
  it("refuses a wrong checksum and leaves no file, neither whole nor partial", async () => {
    const { hub, cacheDirectory, blobs } = await bigHub();
    hub.intercept = ({ host, method, range }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      const changed = Buffer.from(content);
      changed[1_234_567]! ^= 1;
      sendContent(response, changed, method, range);
      return true;
    };
    const context = await createSourceContext({ cacheDirectory }, QUICK);
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining(sha256(BIG)) as string,
      details: { reason: "checksum" },
    });
    expect(await readdir(blobs)).toEqual([]);
    expect(await readdir(join(cacheDirectory, "models--acme--big"))).toEqual(["blobs"]);
  });

  it("refuses a changed small file, which has git's checksum", async () => {
    const hub = await startHub();
    hub.publish("acme/small", { "small.gguf": "tiny" });
    hub.intercept = ({ path, method, range }, response) => {
      if (!path.includes("/resolve/")) return false;
      sendContent(response, Buffer.from("tinY"), method, range);
      return true;
    };
    const cacheDirectory = await temporaryFolder();
    await expect(resolveModel("hf:acme/small/small.gguf", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "checksum" },
    });
  });

  it("ends a body that does not end", async () => {
    const { hub, cacheDirectory, blobs } = await bigHub();
    let sent = 0;
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200); // chunked
      const more = (): void => {
        while (!response.destroyed && sent < 1_000_000_000) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      more();
      return true;
    };
    const context = await createSourceContext({ cacheDirectory }, QUICK);
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("at most 3000000 bytes") as string,
    });
    expect(sent).toBeLessThan(100_000_000);
    expect(await readdir(blobs)).toHaveLength(1); // the first 3,000,000 bytes, whose checksum the next call finds wrong
    hub.intercept = () => false;
    expect(sha256(await readFile((await resolveHubModel(MODEL, context)).path))).toBe(sha256(BIG));
  });

  it("ends an answer of the API that does not end", async () => {
    const { hub, cacheDirectory } = await bigHub();
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/tree/")) return false;
      response.writeHead(200, { "content-type": "application/json" });
      response.write("[");
      const more = (): void => {
        while (!response.destroyed)
          if (!response.write(" ".repeat(65_536))) return void response.once("drain", more);
      };
      more();
      return true;
    };
    await expect(resolveModel("hf:acme/big", { cacheDirectory })).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("at most 16777216 bytes") as string,
    });
  });

  it("copes with a content-length that is too small, and with one that is too large", async () => {
    const { hub, cacheDirectory } = await bigHub();
    let request = 0;
    hub.intercept = ({ host, range }, response, content) => {
      if (host !== "content" || content === undefined || request > 1) return false;
      const start = rangeStart(range);
      const claimed = request++ === 0 ? 1_000_000 : content.length - start + 5_000_000;
      response.writeHead(range === undefined ? 200 : 206, {
        "content-length": claimed,
        "content-range": `bytes ${start}-${content.length - 1}/${content.length}`,
      });
      // Too large: what is missing never comes, and the connection closes.
      if (claimed === 1_000_000) response.end(content.subarray(start, start + claimed));
      else response.write(content.subarray(start, 2_000_000), () => response.destroy());
      return true;
    };
    const model = await resolveHubModel(MODEL, await createSourceContext({ cacheDirectory }, QUICK));
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    expect(ranges(hub)).toHaveLength(3);
  });
});

describe("a server that is slow or fails", () => {
  it("gives up on a server that stands still, before its head and inside its body", async () => {
    const { hub, cacheDirectory } = await bigHub();
    const context = await createSourceContext({ cacheDirectory }, { ...IMPATIENT, retries: 0 });
    hub.intercept = ({ path }) => path.includes("/revision/");
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("received none for 0.6 s") as string,
    });
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 1000));
      return true;
    };
    const start = performance.now();
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "timeout" },
    });
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ["keeps silent before its head", () => {}],
    ["keeps silent behind its head", (response) => response.flushHeaders()],
    ["keeps silent behind its first bytes", (response) => response.write(BIG.subarray(0, 1000))],
    [
      "sends a byte now and then",
      (response) => {
        const timer = setInterval(() => response.write("."), 100);
        response.on("close", () => clearInterval(timer));
      },
    ],
  ])("gives up on a file after all retries where the server %s", async (_, answer) => {
    const { hub, cacheDirectory } = await bigHub();
    let asked = 0;
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      asked++;
      answer(response);
      return true;
    };
    const context = await createSourceContext({ cacheDirectory }, { ...IMPATIENT, retries: 2 });
    const start = performance.now();
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "timeout" },
    });
    expect(asked).toBe(3);
    expect(performance.now() - start).toBeLessThan(15_000);
  });

  it("gives up on a server that drips an answer of the API", async () => {
    const { hub, cacheDirectory } = await bigHub();
    hub.intercept = ({ path }, response) => {
      if (!path.includes("/tree/")) return false;
      const timer = setInterval(() => response.write(" "), 100);
      response.on("close", () => clearInterval(timer));
      return true;
    };
    const context = await createSourceContext({ cacheDirectory }, IMPATIENT);
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "timeout" },
    });
  });

  it("gives up on redirects in a circle, and on a server that begins anew and breaks off without end", async () => {
    const { hub, cacheDirectory } = await bigHub();
    const context = await createSourceContext({ cacheDirectory }, { ...QUICK, retries: 3 });
    hub.intercept = ({ host, path }, response) => {
      if (host !== "content") return false;
      response.writeHead(302, { location: path });
      response.end();
      return true;
    };
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "answer", retryable: false },
    });
    expect(hub.requests.filter(({ host }) => host === "content").length).toBeLessThan(30);

    const huge = noise(10_000_000, "huge");
    hub.publish("acme/huge", { "huge.gguf": huge });
    let asked = 0;
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      asked++;
      response.writeHead(200, { "content-length": content.length });
      // More than a retry counts as progress, and never the end.
      response.write(content.subarray(0, 9_500_000), () => response.destroy());
      return true;
    };
    const model = { repo: "acme/huge", revision: "main", file: "huge.gguf" };
    await expect(resolveHubModel(model, context)).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    expect(asked).toBeLessThan(10);
  });

  it("gives up a network that drops its packets after the time to connect", async () => {
    isolateEnvironment();
    // Behind a full queue of a socket that nobody accepts from, Linux leaves connections without an answer.
    const silent =
      "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(0); " +
      "print(s.getsockname()[1], flush=True); time.sleep(60)";
    const listener = spawn("python3", ["-c", silent]);
    const port = Number(((await once(listener.stdout, "data")) as [Buffer])[0]);
    const sockets = [1, 2, 3].map(() => connect(port, "127.0.0.1").on("error", () => {}));
    onTestFinished(() => {
      listener.kill();
      for (const socket of sockets) socket.destroy();
    });
    await once(sockets[0]!, "connect");
    vi.stubEnv("HF_ENDPOINT", `http://127.0.0.1:${port}`);
    const context = await createSourceContext({ cacheDirectory: await temporaryFolder() }, IMPATIENT);
    const start = performance.now();
    await expect(resolveHubModel(MODEL, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("no answer within 0.6 s") as string,
      details: { reason: "unreachable" },
    });
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it("waits for a slow server that goes on sending", async () => {
    const { hub, cacheDirectory } = await bigHub();
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200, { "content-length": content.length });
      let position = 0;
      const timer = setInterval(() => {
        response.write(content.subarray(position, (position += 500_000)));
        if (position < content.length) return;
        clearInterval(timer);
        response.end();
      }, 250);
      return true;
    };
    const model = await resolveHubModel(
      MODEL,
      await createSourceContext({ cacheDirectory }, { ...QUICK, stallMs: 1000 }),
    );
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    expect(ranges(hub)).toHaveLength(1);
  });

  it("tells the statuses apart", async () => {
    const { hub, cacheDirectory } = await bigHub();
    let status = 0;
    hub.intercept = ({ path }, response) => {
      if (!path.startsWith("/api/")) return false;
      response.writeHead(status, { "x-error-message": "secret words" }).end("x".repeat(1000));
      return true;
    };
    const context = await createSourceContext({ cacheDirectory }, QUICK);
    const failure = async (code: number): Promise<Error & { code: string; details: object }> => {
      status = code;
      return (await resolveHubModel(MODEL, context).catch((error: unknown) => error)) as Error & {
        code: string;
        details: object;
      };
    };
    expect(await failure(404)).toMatchObject({ code: "ERR_MODEL_NOT_FOUND" });
    const denied = await failure(401);
    expect(denied).toMatchObject({ code: "ERR_DOWNLOAD", details: { status: 401, retryable: false } });
    expect(denied.message).toContain("HF_TOKEN");
    expect(await failure(403)).toMatchObject({ code: "ERR_DOWNLOAD", details: { status: 403 } });
    hub.requests.length = 0;
    expect(await failure(500)).toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { status: 500, retryable: true },
    });
    expect(hub.requests).toHaveLength(3); // asked again twice
    expect(await failure(418)).toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { status: 418, retryable: false },
    });
  });

  it("asks again after an error that passes", async () => {
    const { hub, cacheDirectory } = await bigHub();
    const failed = new Set<string>();
    hub.intercept = ({ path, host }, response) => {
      if (failed.has(`${host}${path}`)) return false;
      failed.add(`${host}${path}`);
      response.writeHead(503).end();
      return true;
    };
    const model = await resolveHubModel(MODEL, await createSourceContext({ cacheDirectory }, QUICK));
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    expect(failed.size).toBe(4);
  });
});

describe("an abort", () => {
  it("stops a download at once, keeps what came and lets the next call resume", async () => {
    const { hub, cacheDirectory, blobs } = await bigHub();
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 2_000_000), () => setTimeout(() => stop.abort(reason), 300));
      return true;
    };
    const stop = new AbortController();
    const reason = new Error("enough");
    const started = resolveModel("hf:acme/big", { cacheDirectory, signal: stop.signal });
    await expect(started).rejects.toMatchObject({ code: "ERR_ABORTED", cause: reason });
    expect(await readdir(blobs)).toEqual([`${sha256(BIG)}.released.incomplete`]);
    expect(await readdir(join(cacheDirectory, ".locks", "models--acme--big"))).toEqual([]);
    hub.intercept = () => false;
    hub.requests.length = 0;
    await resolveModel("hf:acme/big", { cacheDirectory });
    expect(rangeStart(ranges(hub)[0])).toBeGreaterThan(1_000_000);
  });

  it("stops before the first request, and while the hub does not answer", async () => {
    const { hub, cacheDirectory } = await bigHub();
    const aborted = AbortSignal.abort();
    await expect(resolveModel("hf:acme/big", { cacheDirectory, signal: aborted })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
    expect(hub.requests).toEqual([]);
    hub.intercept = () => true;
    const signal = AbortSignal.timeout(100);
    const start = performance.now();
    await expect(resolveModel("hf:acme/big", { cacheDirectory, signal })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it("lets an error of onProgress through unchanged", async () => {
    const { cacheDirectory, blobs } = await bigHub();
    const mine = new TypeError("my own");
    const onProgress = (): void => {
      throw mine;
    };
    await expect(resolveModel("hf:acme/big", { cacheDirectory, onProgress })).rejects.toBe(mine);
    expect(await readdir(blobs)).toEqual([]);
  });
});
