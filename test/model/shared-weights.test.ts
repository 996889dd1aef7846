/** Packed weights in the memory that processes share: what a second process adds, and when a process has a copy of its own. */
import { spawn, type ChildProcess } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel, type LoadModelOptions } from "#lib/index.js";
import { tinyModel } from "../generate/tiny-models.js";

const MODEL = "smollm2-135m-instruct";
const prompt = { tokens: [1, 2, 3, 4] };

interface Report {
  packedWeights: string;
  sharedWeights: boolean;
  weightBytes: number;
  tokens: number[];
  pss: number;
  private: number;
}

/** A process with a model; see sharing-child.mjs. */
class Holder {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(packedDirectory: string, mode: "share" | "own") {
    this.#child = spawn(
      process.execPath,
      [join(import.meta.dirname, "sharing-child.mjs"), MODEL, packedDirectory, mode],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }
  async report(): Promise<Report> {
    const { value } = await this.#lines.next();
    return JSON.parse(value as string) as Report;
  }
  again(): Promise<Report> {
    this.#child.stdin!.write("generate\n");
    return this.report();
  }
  async end(): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => this.#child.on("close", resolve));
    this.#child.stdin!.end();
    return ended;
  }
}

let folder: string;
let packedDirectory: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lowrank-shared-"));
  packedDirectory = join(folder, "packed");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const weightsFile = (): string =>
  join(
    packedDirectory,
    readdirSync(packedDirectory).find((name) => name.endsWith(".weights"))!,
  );

async function facts(options: LoadModelOptions = {}) {
  await using model = await loadModel(tinyModel("llama"), { threads: 1, packedDirectory, ...options });
  const { tokens } = await model.generate(prompt, { maxTokens: 8 }).result();
  const { packedWeights, sharedWeights } = model.facts;
  return { packedWeights, sharedWeights, tokens };
}

describe.skipIf(process.platform !== "linux")("packed weights", () => {
  test("a second process adds less than a tenth of their bytes", { timeout: 300_000 }, async () => {
    const first = new Holder(packedDirectory, "share");
    const alone = await first.report();
    expect(alone).toMatchObject({ packedWeights: "written", sharedWeights: true });
    const second = new Holder(packedDirectory, "share");
    const beside = await second.report();
    expect(beside).toMatchObject({ packedWeights: "restored", sharedWeights: true, tokens: alone.tokens });
    const both = await first.again();
    const bytes = alone.weightBytes;
    expect(bytes).toBeGreaterThan(100e6);
    // Of the second process, what is no weight: as much as the first one has.
    const besideWeights = alone.pss - bytes;
    const added = both.pss + beside.pss - alone.pss - besideWeights;
    expect(added).toBeLessThan(bytes / 10);
    expect(beside.private).toBeLessThan(besideWeights + bytes / 10);

    // A process that asks for its own has them all, and the same results.
    const third = new Holder(packedDirectory, "own");
    const own = await third.report();
    expect(own).toMatchObject({ packedWeights: "restored", sharedWeights: false, tokens: alone.tokens });
    expect(own.private - beside.private).toBeGreaterThan(0.9 * bytes);
    expect(await Promise.all([first, second, third].map((one) => one.end()))).toEqual([0, 0, 0]);
  });

  test("are shared from the load that writes them on, and not where that is not wanted", async () => {
    const fresh = await facts({ packedDirectory: false });
    expect(fresh).toMatchObject({ packedWeights: "none", sharedWeights: false });
    expect(await facts()).toEqual({ ...fresh, packedWeights: "written", sharedWeights: true });
    expect(await facts()).toEqual({ ...fresh, packedWeights: "restored", sharedWeights: true });
    expect(await facts({ shareWeights: false })).toEqual({ ...fresh, packedWeights: "restored" });
    expect(statSync(weightsFile()).mode & 0o222).toBe(0);
  });

  test.each<[string, (path: string) => void]>([
    ["its owner may write to", (path) => chmodSync(path, 0o644)],
    ["its group may write to", (path) => chmodSync(path, 0o464)],
    ["others may write to", (path) => chmodSync(path, 0o446)],
    ["has another name", (path) => linkSync(path, join(folder, "other"))],
    [
      "is a link",
      (path) => {
        const other = join(folder, "other");
        renameSync(path, other);
        symlinkSync(other, path);
      },
    ],
  ])("are copied from a file that %s", async (_, change) => {
    const fresh = await facts();
    change(weightsFile());
    expect(await facts()).toEqual({ ...fresh, packedWeights: "restored", sharedWeights: false });
  });

  test("that are damaged are replaced, whether they are mapped or copied", async () => {
    const fresh = await facts();
    for (const mode of [0o444, 0o644])
      for (const damage of [
        (bytes: Buffer) => ((bytes[bytes.length - 100]! ^= 1), bytes),
        (bytes: Buffer) => bytes.subarray(0, bytes.length - 1),
        (bytes: Buffer) => bytes.subarray(0, 4096),
        (bytes: Buffer) => bytes.subarray(0, 3),
        () => Buffer.alloc(0),
      ]) {
        const path = weightsFile();
        const bytes = damage(readFileSync(path));
        rmSync(path);
        writeFileSync(path, bytes);
        chmodSync(path, mode);
        expect(await facts()).toEqual({ ...fresh, packedWeights: "written", sharedWeights: true });
        expect(await facts()).toEqual({ ...fresh, packedWeights: "restored", sharedWeights: true });
      }
  });

  test("in use outlive their file's end and its replacement", async () => {
    const fresh = await facts();
    const path = weightsFile();
    const options = { threads: 1, packedDirectory };
    await using model = await loadModel(tinyModel("llama"), options);
    expect(model.facts.sharedWeights).toBe(true);
    const checksum = await model.checksum();
    const other = join(folder, "other");
    copyFileSync(path, other);
    const bytes = readFileSync(path).fill(0, 4096);
    chmodSync(other, 0o644);
    writeFileSync(other, bytes);
    renameSync(other, path);
    expect(await model.checksum()).toBe(checksum);
    rmSync(path);
    expect(await model.checksum()).toBe(checksum);
    const { tokens } = await model.generate(prompt, { maxTokens: 8 }).result();
    expect(tokens).toEqual(fresh.tokens);
  });
});
