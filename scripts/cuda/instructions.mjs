// Instructions that the kernels' speed stands on, as PTX and as machine code name them. native/cuda/budgets.json says which
// of them a kernel must have.

export const INSTRUCTIONS = {
  "mma s8": {
    ptx: /\bmma\.sync\.aligned\.m16n8k32\.row\.col\.s32\.s8\.s8\.s32\b/,
    sass: /\bIMMA\.16832\.S8\.S8\b/,
  },
  "mma bf16": {
    ptx: /\bmma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32\b/,
    sass: /\bHMMA\.16816\.F32\.BF16\b/,
  },
  ldmatrix: { ptx: /\bldmatrix\.sync\.aligned\.m8n8\.x4(\.trans)?\.shared\.b16\b/, sass: /\bLDSM\.\S*4\b/ },
  "cp.async 16": { ptx: /\bcp\.async\.cg\.shared\.global[^;]*, 16\b/, sass: /\bLDGSTS\.E\.\S*128\b/ },
  dp4a: { ptx: /\bdp4a\.s32\.s32\b/, sass: /\bIDP\.4A\.S8\.S8\b/ },
  redux: { ptx: /\bredux\.sync\.max\.u32\b/, sass: /\bC?REDUX\b/ },
  "load 16": {
    ptx: /\bld\.global\S*\.(v4\.[bfsu]32|v2\.[bfsu]64)\b/,
    sass: /\bLDG\.E\.\S*128\b/,
  },
  "store 16": {
    ptx: /\bst\.global\S*\.(v4\.[bfsu]32|v2\.[bfsu]64)\b/,
    sass: /\bSTG\.E\.\S*128\b/,
  },
};

/** Names of `wanted` that `text` has no instruction of. `language` is "ptx" or "sass". */
export const missingInstructions = (text, wanted, language) =>
  wanted.filter((name) => !INSTRUCTIONS[name][language].test(text));
