import { defineConfig } from "vitest/config";

/** Files that measure time, or whose models take every core. They run one at a time, after the others. */
const ALONE = [
  "adapters/{int8,turns,watch}",
  "bench/turns",
  "compare/smollm2",
  "fidelity/{int8,smollm2}",
  "generate/{attacks,options-effect,text}",
  "model/{waiting,workers}",
  "model/sources/{hub-download,several-processes,wheel-model}",
  "patterns/bounded",
  "templates/attacks",
  "tokenizer/{bounded-work,text-limits,text-processor}",
].map((name) => `test/${name}.test.ts`);

const shared = { testTimeout: 60_000, hookTimeout: 120_000, pool: "forks" } as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: "together",
          include: ["test/**/*.test.ts"],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: "alone",
          include: ALONE,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
