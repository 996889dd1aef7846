/** Reads the golden files of test/golden/data and makes altered copies of model folders. */
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DeviceName } from "#lib/index.js";

export const DATA = fileURLToPath(new URL("../golden/data/", import.meta.url));

/** What the small models run on: the CPU, or what LOWRANK_TEST_DEVICE names, as `npm run cuda:emulate` has it. */
export const DEVICE = (process.env["LOWRANK_TEST_DEVICE"] ?? "cpu") as DeviceName;

/** Bar of the small models and their adapters: max |difference| in units of max |logit|. */
export const TINY_TOLERANCE = 1e-4;
/** Bar of SmolLM2: max |logit difference|. */
export const SMOLLM2_TOLERANCE = 2e-3;
/** A greedy text may part from the golden only where the top two logits lie this close. */
export const GREEDY_GAP = 4e-3;

export type ReferencePrecision = "float32" | "w8-float32";

/** Where an array lies in the binary file: offset in values of four bytes, shape in values. */
export interface Place {
  offset: number;
  shape: number[];
}

export interface LogitsEntry {
  precision: ReferencePrecision;
  /** Index into `sequences`. */
  sequence: number;
  /** Positions [from, to) of the sequence. */
  from: number;
  to: number;
  /** Largest |logit| of the entry. */
  maxAbs: number;
  /** float32 [to - from, vocabularySize]. */
  logits: Place;
}

export interface Golden<Manifest> {
  manifest: Manifest;
  floats(place: Place): Float32Array;
  integers(place: Place): Int32Array;
}

/** Opens `<stem>.golden.json` and `<stem>.golden.bin`; `stem` is relative to the data folder. */
export function readGolden<Manifest>(stem: string): Golden<Manifest> {
  const manifest = JSON.parse(readFileSync(join(DATA, `${stem}.golden.json`), "utf8")) as Manifest;
  const bytes = new Uint8Array(readFileSync(join(DATA, `${stem}.golden.bin`)));
  const size = (place: Place): number => place.shape.reduce((product, n) => product * n, 1);
  return {
    manifest,
    floats: (place) => new Float32Array(bytes.buffer, 4 * place.offset, size(place)),
    integers: (place) => new Int32Array(bytes.buffer, 4 * place.offset, size(place)),
  };
}

/** max |a - b|; Infinity where the lengths differ or a value is not finite, so that a comparison cannot pass by accident. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length || a.length === 0) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!Number.isFinite(difference)) return Infinity;
    if (difference > largest) largest = difference;
  }
  return largest;
}

export type ModelConfig = Record<string, unknown>;

export interface Alterations {
  /** Another configuration file of the folder to stand in for config.json. */
  config?: string;
  /** Changes the parsed config.json in place. */
  editConfig?: (config: ModelConfig) => void;
  /** Tensors whose bytes become zero. */
  zeroTensors?: (name: string) => boolean;
}

/** A copy of a model folder in the temporary directory, altered, with the function that removes it. */
export function alteredModel(
  folder: string,
  alterations: Alterations,
): { folder: string; remove: () => void } {
  const copy = mkdtempSync(join(tmpdir(), "lowrank-fidelity-"));
  cpSync(folder, copy, { recursive: true });
  const configPath = join(copy, "config.json");
  const config = JSON.parse(
    readFileSync(join(copy, alterations.config ?? "config.json"), "utf8"),
  ) as ModelConfig;
  alterations.editConfig?.(config);
  writeFileSync(configPath, JSON.stringify(config));
  if (alterations.zeroTensors !== undefined) {
    for (const file of readdirSync(copy).filter((name) => name.endsWith(".safetensors")))
      zeroTensors(join(copy, file), alterations.zeroTensors);
  }
  return { folder: copy, remove: () => rmSync(copy, { recursive: true, force: true }) };
}

/** Writes zeros over the data of the chosen tensors of a safetensors file. */
function zeroTensors(path: string, chosen: (name: string) => boolean): void {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  for (const [name, tensor] of Object.entries(header)) {
    if (name === "__metadata__" || !chosen(name)) continue;
    bytes.fill(0, 8 + headerLength + tensor.data_offsets[0], 8 + headerLength + tensor.data_offsets[1]);
  }
  writeFileSync(path, bytes);
}

/** Multiplies every rope_theta of a configuration, however deep it lies. */
export function multiplyRopeTheta(config: ModelConfig, factor: number): void {
  for (const [key, value] of Object.entries(config)) {
    if (key === "rope_theta" && typeof value === "number") config[key] = value * factor;
    else if (typeof value === "object" && value !== null) multiplyRopeTheta(value as ModelConfig, factor);
  }
}
