import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const FILE = join("prebuilds", `${process.platform}-${process.arch}`, "liblowrank_cuda.so");

/**
 * Path of the CUDA plugin, or "" where there is none: what LOWRANK_CUDA_PLUGIN names and nothing else, then the package lowrank-cuda, then
 * what `npm run cuda:build` has left in this checkout.
 */
export function findCudaPlugin(): string {
  const named = process.env["LOWRANK_CUDA_PLUGIN"];
  if (named) return named;
  const folders = [fileURLToPath(new URL("../../packages/lowrank-cuda", import.meta.url))];
  try {
    folders.unshift(dirname(createRequire(import.meta.url).resolve("lowrank-cuda/package.json")));
  } catch {
    // It is optional.
  }
  return folders.map((folder) => join(folder, FILE)).find(existsSync) ?? "";
}
