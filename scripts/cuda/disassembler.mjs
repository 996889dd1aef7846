// nvdisasm: from the toolkit, or from PyPI's package of it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";

const PACKAGE = "nvidia-cuda-nvdisasm==13.5.37";

const runs = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** The program's path, or null. With `fetch`, pip puts it into build/ where the toolkit has none. */
export function findDisassembler(root, toolkit, fetch) {
  const folder = join(root, "build", "nvdisasm");
  const places = [
    join(dirname(toolkit.nvcc), "nvdisasm"),
    "nvdisasm",
    "/usr/local/cuda/bin/nvdisasm",
    ...["nvidia/cu13/bin", "nvidia/cuda_nvdisasm/bin"].map((inner) => join(folder, inner, "nvdisasm")),
  ];
  const found = places.find(runs);
  if (found || !fetch || existsSync(folder)) return found ?? null;
  mkdirSync(dirname(folder), { recursive: true });
  const { status, stderr } = spawnSync(
    "python3",
    ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PACKAGE],
    { encoding: "utf8" },
  );
  if (status !== 0) {
    process.stderr.write(`${stderr.trim().split("\n").at(-1)}\n`);
    return null;
  }
  return places.find(runs) ?? null;
}

/** nvdisasm's listing of a cubin. */
export function disassemble(program, cubin) {
  const { status, stdout, stderr } = spawnSync(program, ["-c", cubin], {
    encoding: "utf8",
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`${program} ${cubin}\n${stderr}`);
  return stdout;
}
