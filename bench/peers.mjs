// The engines that this one is measured against, each fetched into build/peers with its model from the same weights as ours. Needs python3
// and a network the first time. A peer that cannot be had is reported with its reason.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { adapterToGguf, folder, pythonWith, requantized, run, writeOpenVino } from "./python.mjs";

const script = (name) => fileURLToPath(new URL(`contenders/${name}`, import.meta.url));
const NODE_LLAMA_CPP = "3.22.1";
const LLAMA_CPP_PYTHON = { "llama-cpp-python": "0.3.36", numpy: "2.4.6" };
const TORCH = {
  torch: "2.13.0",
  transformers: "5.17.0",
  peft: "0.21.2",
  gguf: "0.19.0",
  accelerate: "1.15.0",
};
const OPENVINO = {
  "openvino-genai": "2026.4.1.0",
  openvino: "2026.4.1",
  "optimum-intel": "2.2.0",
  nncf: "3.4.0",
  torch: "2.13.0",
  transformers: "5.5.4",
  gguf: "0.19.0",
  accelerate: "1.15.0",
};

/** One of llama.cpp's contenders for each of two weight types. first: the arguments before the model's. */
function ggufContenders(name, command, first, { model, adapter, log }) {
  const adapterFile = adapter ? adapterToGguf(model, adapter, log) : "";
  return ["Q8_0", "Q4_0"].map((type) => {
    const file = requantized(model, type, log);
    return {
      name: `${name} ${type}`,
      command,
      args: (threads) => [...first, file, String(threads), adapterFile],
    };
  });
}

/** By name: what is installed, and the contenders. */
const PEERS = {
  "node-llama-cpp": {
    versions: { "node-llama-cpp": NODE_LLAMA_CPP },
    prepare(asked) {
      if (!existsSync(join(folder, "node_modules/node-llama-cpp"))) {
        asked.log(`installing node-llama-cpp ${NODE_LLAMA_CPP} …`);
        const flags = ["--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
        run("npm", ["install", ...flags, `node-llama-cpp@${NODE_LLAMA_CPP}`]);
      }
      return ggufContenders(
        "node-llama-cpp",
        process.execPath,
        [script("node-llama-cpp.mjs"), folder],
        asked,
      );
    },
  },
  "llama-cpp-python": {
    versions: LLAMA_CPP_PYTHON,
    prepare(asked) {
      // From source, for this very processor: about ten minutes on two cores.
      const env = {
        CMAKE_ARGS: "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF",
        CMAKE_BUILD_PARALLEL_LEVEL: "2",
        PIP_NO_BINARY: "llama-cpp-python",
      };
      const python = pythonWith("venv-llama-cpp-python", LLAMA_CPP_PYTHON, asked.log, { env });
      return ggufContenders("llama-cpp-python", python, [script("llama_cpp_python.py")], asked);
    },
  },
  torch: {
    versions: TORCH,
    prepare({ model, adapter, log }) {
      const python = pythonWith("venv-torch", TORCH, log);
      const args = (threads) => [script("torch_int8.py"), model.file, String(threads), adapter ?? ""];
      return [{ name: "torch int8", command: python, args }];
    },
  },
  openvino: {
    versions: OPENVINO,
    prepare({ model, adapter, log }) {
      // optimum-intel brings a torchvision that need not fit torch, and is not needed.
      const python = pythonWith("venv-openvino", OPENVINO, log, { without: ["torchvision"] });
      const exported = writeOpenVino(python, model, log);
      const args = (threads) => [script("openvino_int8.py"), exported, String(threads), adapter ?? ""];
      return [{ name: "openvino int8", command: python, args }];
    },
  },
};

export const PEER_NAMES = Object.keys(PEERS);

/**
 * Contenders of the named peers, `args` being a function of the number of threads; the versions of what they consist of; and the names
 * and reasons of those that cannot be had. adapter: a PEFT folder, or undefined where no figure needs one.
 */
export function preparePeers(names, { model, adapter, log }) {
  const result = { contenders: [], versions: {}, missing: [] };
  for (const name of names) {
    try {
      result.contenders.push(...PEERS[name].prepare({ model, adapter, log }));
      result.versions[name] = PEERS[name].versions;
    } catch (error) {
      result.missing.push({ name, reason: error.message });
    }
  }
  return result;
}
