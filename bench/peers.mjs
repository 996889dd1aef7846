// Fetches what the peers need into build/peers: node-llama-cpp from npm, the Python package gguf (to write their models from
// the same weights as ours), the models and the adapter as GGUF.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = join(here, "../build/peers");
const VERSIONS = { "node-llama-cpp": "3.22.1", gguf: "0.19.0", numpy: "2.4.6" };

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0)
    throw new Error(`Expected ${command} ${args.join(" ")} to succeed${error ? `: ${error.message}` : ""}.`);
}

const python = join(folder, "venv/bin/python");

/** Returns the folder of node-llama-cpp and a function that writes our GGUF file in another type. */
export function preparePeers(log) {
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, "node_modules/node-llama-cpp"))) {
    log(`installing node-llama-cpp ${VERSIONS["node-llama-cpp"]} …`);
    const flags = ["--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
    run("npm", ["install", ...flags, `node-llama-cpp@${VERSIONS["node-llama-cpp"]}`]);
  }
  if (!existsSync(python)) {
    log("installing the Python package gguf …");
    run("python3", ["-m", "venv", join(folder, "venv")]);
    run(python, ["-m", "pip", "install", "-q", `gguf==${VERSIONS.gguf}`, `numpy==${VERSIONS.numpy}`]);
  }
  return { folder, versions: VERSIONS, requantize, adapterToGguf };

  function requantize(source, type) {
    const target = join(folder, `${type}.gguf`);
    if (!existsSync(target)) {
      log(`writing the model as ${type} …`);
      run(python, [join(here, "requantize_gguf.py"), source, type, target]);
    }
    return target;
  }
  function adapterToGguf(source) {
    const target = join(folder, "adapter.gguf");
    run(python, [join(here, "adapter_to_gguf.py"), source, target]);
    return target;
  }
}
