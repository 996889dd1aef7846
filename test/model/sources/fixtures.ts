import { createHash } from "node:crypto";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished, vi } from "vitest";
import type { ModelSourceProgress } from "#lib/model/sources/index.js";
import { HubServer } from "./hub-server.js";

// These tests wait for servers and processes, which take their time on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

/** A fresh folder, removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "lowrank-sources-")));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A hub on loopback that HF_ENDPOINT points to, closed after the test, and an environment without other settings. */
export async function startHub(): Promise<HubServer> {
  const hub = await HubServer.start();
  onTestFinished(() => hub.close());
  isolateEnvironment();
  vi.stubEnv("HF_ENDPOINT", hub.url);
  return hub;
}

const VARIABLES = [
  "HF_HOME",
  "HF_HUB_CACHE",
  "HUGGINGFACE_HUB_CACHE",
  "HF_ENDPOINT",
  "HF_TOKEN",
  "HF_TOKEN_PATH",
  "HF_HUB_OFFLINE",
];

/** Unsets the hub's variables until the end of the test. */
export function isolateEnvironment(): void {
  for (const name of VARIABLES) vi.stubEnv(name, undefined);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}

/** Bytes that look random and are the same in every run. */
export function noise(length: number, seed: string): Buffer {
  const blocks: Buffer[] = [];
  for (let bytes = 0, i = 0; bytes < length; bytes += 32, i++) {
    blocks.push(createHash("sha256").update(`${seed} ${i}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

export function sha256(content: Buffer | string): string {
  return createHash("sha256").update(content).digest("hex");
}

export const LARGE = noise(300_000, "weights");

/** The files of a small model repository, with some that are not needed to run it. */
export function modelFiles(): Record<string, Buffer | string> {
  return {
    ".gitattributes": "*.safetensors filter=lfs",
    "README.md": "# A model",
    "config.json": '{"model_type":"llama"}',
    "generation_config.json": "{}",
    "tokenizer.json": noise(6000, "tokenizer"),
    "tokenizer_config.json": "{}",
    "special_tokens_map.json": "{}",
    "chat_template.jinja": "{{ messages }}",
    "model.safetensors": LARGE,
    "pytorch_model.bin": noise(5000, "pickle"),
    "onnx/model.onnx": noise(5000, "onnx"),
  };
}

/** Collects progress. */
export function recorder(): {
  events: ModelSourceProgress[];
  onProgress: (event: ModelSourceProgress) => void;
} {
  const events: ModelSourceProgress[] = [];
  return { events, onProgress: (event) => events.push(event) };
}
