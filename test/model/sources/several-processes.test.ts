import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ownerTag, withFileLock } from "#lib/model/sources/file-lock.js";
import { resolveModel } from "#lib/model/sources/index.js";
import { modelFiles, noise, recorder, sha256, startHub, temporaryFolder } from "./fixtures.js";
import { rangeStart } from "./hub-server.js";

const BIG = noise(3_000_000, "big");

function resolveInChild(
  name: string,
  cacheDirectory: string,
): { child: ChildProcess; done: Promise<string> } {
  const script = fileURLToPath(new URL("resolve-child.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, name, cacheDirectory], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const done = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Error(`exit code ${String(code)}: ${output}`);
    return output;
  });
  return { child, done };
}

describe("several processes", () => {
  it("download each file once among them, and all get it whole", async () => {
    const hub = await startHub();
    hub.publish("acme/tiny", { ...modelFiles(), "model.safetensors": BIG });
    const cacheDirectory = await temporaryFolder();
    const children = [1, 2, 3].map(() => resolveInChild("hf:acme/tiny", cacheDirectory));
    const [own, ...paths] = await Promise.all([
      resolveModel("hf:acme/tiny", { cacheDirectory }),
      ...children.map(({ done }) => done),
    ]);
    expect(paths).toEqual([own.path, own.path, own.path]);
    expect(sha256(await readFile(join(own.path, "model.safetensors")))).toBe(sha256(BIG));
    expect(hub.contentRequests().filter((request) => request.startsWith("model.safetensors"))).toEqual([
      "model.safetensors all",
    ]);
    const blobs = await readdir(join(cacheDirectory, "models--acme--tiny", "blobs"));
    expect(blobs.filter((name) => !/^[0-9a-f]+$/.test(name))).toEqual([]);
  });

  it("go on where one was killed, without waiting for its lock to age", async () => {
    const hub = await startHub();
    hub.publish("acme/big", { "big.gguf": BIG });
    const cacheDirectory = await temporaryFolder();
    const blobs = join(cacheDirectory, "models--acme--big", "blobs");
    hub.intercept = ({ host }, response, content) => {
      if (host !== "content" || content === undefined) return false;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 2_500_000));
      return true;
    };
    const { child, done } = resolveInChild("hf:acme/big", cacheDirectory);
    const ended = done.catch((error: unknown) => error);
    await expect.poll(() => readdir(blobs).catch(() => []), { timeout: 10_000 }).toHaveLength(1);
    await delay(500);
    child.kill("SIGKILL");
    await ended;
    const [partial] = await readdir(blobs);
    expect(partial).toMatch(/\.incomplete$/);
    expect(await readdir(join(cacheDirectory, ".locks", "models--acme--big"))).toHaveLength(1);

    hub.intercept = () => false;
    hub.requests.length = 0;
    const model = await resolveModel("hf:acme/big", { cacheDirectory });
    expect(sha256(await readFile(model.path))).toBe(sha256(BIG));
    const { range } = hub.requests.find(({ host }) => host === "content")!;
    expect(rangeStart(range)).toBeGreaterThanOrEqual(1024 * 1024);
    expect(await readdir(blobs)).toEqual([sha256(BIG)]);
    expect(await readdir(join(cacheDirectory, ".locks", "models--acme--big"))).toEqual([]);
  });

  it("never touch the partial file of a process that runs", async () => {
    const hub = await startHub();
    hub.publish("acme/big", { "big.gguf": BIG });
    const cacheDirectory = await temporaryFolder();
    const blobs = join(cacheDirectory, "models--acme--big", "blobs");
    await mkdir(blobs, { recursive: true });
    const theirs = join(blobs, `${sha256(BIG)}.${ownerTag()}.incomplete`);
    await writeFile(theirs, "theirs");
    await resolveModel("hf:acme/big", { cacheDirectory });
    expect(await readFile(theirs, "utf8")).toBe("theirs");
    expect(hub.contentRequests()).toEqual(["big.gguf all"]);
  });
});

describe("withFileLock", () => {
  it("lets one caller in at a time, in one process too", async () => {
    const path = join(await temporaryFolder(), "deep", "x.lock");
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await delay(30);
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withFileLock(path, {}, work)));
    expect(most).toBe(1);
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it("takes over the lock of a process that ended, tells of a wait, and ends it with the signal", async () => {
    const path = join(await temporaryFolder(), "x.lock");
    const gone = spawn(process.execPath, ["-e", ""]);
    await once(gone, "close");
    const dead = ownerTag().replace(/-\d+-/, `-${gone.pid}-`);
    await writeFile(path, JSON.stringify({ owner: dead, token: "t" }));
    expect(await withFileLock(path, {}, () => Promise.resolve(7))).toBe(7);

    await writeFile(path, JSON.stringify({ owner: ownerTag(), token: "t" }));
    const old = new Date(0); // of another host's clock, as far as anyone can tell
    await utimes(path, old, old);
    const { events, onProgress } = recorder();
    const onWait = (): void => onProgress({ stage: "wait", file: "x" });
    const signal = AbortSignal.timeout(250);
    await expect(withFileLock(path, { signal, onWait }, () => Promise.resolve(8))).rejects.toThrow();
    expect(events).toEqual([{ stage: "wait", file: "x" }]);
    expect(await readdir(join(path, ".."))).toEqual(["x.lock"]);
  });

  it("frees the lock where the work fails", async () => {
    const path = join(await temporaryFolder(), "x.lock");
    await expect(withFileLock(path, {}, () => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    expect(await withFileLock(path, {}, () => Promise.resolve(9))).toBe(9);
  });
});
