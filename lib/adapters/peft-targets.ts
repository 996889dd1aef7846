import { LowrankError } from "../errors/index.js";
import { fusedParts, isTarget, type ModulePath } from "./module-path.js";
import type { PeftConfig } from "./peft-config.js";
import { fullMatch, matchPatterns, suffixMatch } from "./python-pattern.js";

const listOf = <T>(value: T | T[] | null): T[] =>
  value === null ? [] : Array.isArray(value) ? value : [value];

/** A path and what is left of it without its first parts: "model.norm", "norm". */
function endsOf(path: string): string[] {
  const ends = [path];
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1))
    ends.push(path.slice(dot + 1));
  return ends;
}

const unsupported = (message: string): LowrankError => new LowrankError("ERR_ADAPTER_UNSUPPORTED", message);

/** PEFT's rule for modules_to_save: the end of a path. Names that the base does not have save nothing. */
export function savedModules(config: PeftConfig, paths: ReadonlyMap<string, ModulePath>): Set<string> {
  const ends = config.modules_to_save ?? [];
  const isSaved = (path: string): boolean => ends.some((end) => path.endsWith(end));
  const container = containersOf(paths).find(isSaved);
  if (container !== undefined)
    throw unsupported(
      `Expected norms and tables alone for modules_to_save, received ${JSON.stringify(ends)}, one of which saves ${container}.`,
    );
  return new Set(
    [...paths.values()]
      .filter(({ module, path }) => !fusedParts(module) && isSaved(path))
      .map(({ path }) => path),
  );
}

/** PEFT's check_target_module_exists, over all module paths of the base. */
export function targetedModules(config: PeftConfig, paths: ReadonlyMap<string, ModulePath>): Set<string> {
  const names = [...paths.keys(), ...otherModules(paths)];
  const selects = (which: string | string[] | null, key: string): ((index: number) => boolean) => {
    if (typeof which !== "string") {
      const listed = new Set(listOf(which));
      return (index) => endsOf(names[index]!).some((end) => listed.has(end));
    }
    if (key === "target_modules" && which.toLowerCase() === "all-linear")
      return (index) => {
        const { module, layer } = paths.get(names[index]!) ?? { module: "", layer: -1 };
        return layer >= 0 && isTarget(module);
      };
    const [matches] = matchPatterns([fullMatch(which)], names, key);
    return (index) => matches![index]!;
  };
  const excluded = selects(config.exclude_modules, "exclude_modules");
  const targeted = selects(config.target_modules, "target_modules");
  // A module that is saved as a whole, or lies in one, is no target.
  const saved = (path: string): boolean =>
    (config.modules_to_save ?? []).some((one) => `.${path}.`.includes(`.${one}.`));
  const some = listOf(config.layers_to_transform);
  const layers = some.length === 0 ? null : new Set(some);
  const listed = typeof config.target_modules !== "string" ? new Set(config.target_modules) : null;
  const chosen = names.filter((name, index) => {
    if (excluded(index) || saved(name) || !targeted(index)) return false;
    if (layers === null || listed === null || listed.has(name)) return true;
    return layers.has(paths.get(name)?.layer ?? -1);
  });
  const odd = chosen.find((name) => !isAdaptable(paths.get(name)?.module ?? ""));
  if (odd !== undefined)
    throw unsupported(
      `Expected projections and tables alone for target_modules, received a choice with ${odd}.`,
    );
  // Names that the base lacks choose nothing, as in PEFT; but something must be chosen.
  if (chosen.length === 0 && config.trainable_token_indices === null)
    throw new LowrankError(
      config.target_modules === null ? "ERR_ADAPTER_FORMAT" : "ERR_ADAPTER_UNSUPPORTED",
      `Expected a module of the base model for target_modules, received ${describe(config.target_modules)}. ` +
        "The adapter was made for another architecture.",
    );
  return new Set(chosen);
}

/** Modules that nobody can adapt, though a pattern may match them. */
function otherModules(paths: ReadonlyMap<string, ModulePath>): string[] {
  const containers = containersOf(paths);
  const activations = containers.filter((path) => path.endsWith(".mlp")).map((path) => `${path}.act_fn`);
  return [...containers, ...activations, "model.rotary_emb"];
}

const isAdaptable = (module: string): boolean => isTarget(module) || fusedParts(module) !== undefined;

function describe(targets: string | string[] | null): string {
  return JSON.stringify(targets ?? null).slice(0, 200);
}

/** Paths of the modules that others lie in: "model", "model.layers", "model.layers.0", "model.layers.0.mlp". */
function containersOf(paths: ReadonlyMap<string, ModulePath>): string[] {
  const containers = new Set<string>();
  for (const path of paths.keys())
    for (let end = path.lastIndexOf("."); end > 0; end = path.lastIndexOf(".", end - 1)) {
      if (containers.has(path.slice(0, end))) break;
      containers.add(path.slice(0, end));
    }
  return [...containers];
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
