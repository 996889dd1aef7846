import { LowrankError } from "../errors/index.js";
import { fusedParts, isTarget, type ModulePath } from "./module-path.js";
import type { PeftConfig } from "./peft-config.js";
import { fullMatch, matchPatterns, suffixMatch } from "./python-pattern.js";

const listOf = <T>(value: T | T[] | null): T[] =>
  value === null ? [] : Array.isArray(value) ? value : [value];

/** PEFT's check_target_module_exists, over all module paths of the base. */
export function targetedModules(config: PeftConfig, paths: ReadonlyMap<string, ModulePath>): Set<string> {
  const names = [...paths.keys()].filter((path) => {
    const { module } = paths.get(path)!;
    return isTarget(module) || fusedParts(module) !== undefined;
  });
  const selects = (which: string | string[] | null, key: string): ((index: number) => boolean) => {
    if (typeof which !== "string")
      return (index) =>
        listOf(which).some((one) => names[index] === one || names[index]!.endsWith(`.${one}`));
    if (which === "all-linear") {
      return (index) => paths.get(names[index]!)!.layer >= 0 && !fusedParts(paths.get(names[index]!)!.module);
    }
    const [matches] = matchPatterns([fullMatch(which)], names, key);
    return (index) => matches![index]!;
  };
  const excluded = selects(config.exclude_modules, "exclude_modules");
  const targeted = selects(config.target_modules, "target_modules");
  const layers = config.layers_to_transform === null ? null : new Set(listOf(config.layers_to_transform));
  const listed = typeof config.target_modules !== "string";
  const chosen = names.filter((name, index) => {
    if (excluded(index) || !targeted(index)) return false;
    if (layers === null || !listed || listOf(config.target_modules).includes(name)) return true;
    return layers.has(paths.get(name)!.layer);
  });
  if (listed)
    for (const one of listOf(config.target_modules))
      if (!names.some((name) => name === one || name.endsWith(`.${one}`)))
        throw new LowrankError(
          "ERR_ADAPTER_UNSUPPORTED",
          `Expected a module of the base model for target_modules, received "${one}". The adapter was made for another architecture.`,
        );
  return new Set(chosen);
}

/** Rank and scaling (alpha / r, or alpha / sqrt(r)) of each module, by PEFT's patterns. */
export function scalingOf(
  config: PeftConfig,
  modules: readonly string[],
): Map<string, { rank: number; scaling: number }> {
  const resolve = (patterns: Record<string, number>, fallback: number, key: string): number[] => {
    const keys = Object.keys(patterns);
    const matches = matchPatterns(keys.map(suffixMatch), [...modules], key);
    return modules.map((_, index) => {
      const first = matches.findIndex((row) => row[index]);
      return first < 0 ? fallback : patterns[keys[first]!]!;
    });
  };
  const ranks = resolve(config.rank_pattern, config.r, "rank_pattern");
  const alphas = resolve(config.alpha_pattern, config.lora_alpha, "alpha_pattern");
  return new Map(
    modules.map((module, index) => {
      const rank = ranks[index]!;
      const scaling = alphas[index]! / (config.use_rslora ? Math.sqrt(rank) : rank);
      return [module, { rank, scaling }];
    }),
  );
}
