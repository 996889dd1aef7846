import { expected } from "../../errors/index.js";
import { boolean, callback, option, signal, type OptionsOf } from "../../schema/index.js";
import type { OnModelSourceProgress } from "./progress.js";

/** A path or a revision: a string that is not empty. */
const word = (facts: { description: string; says: string }) =>
  option<string, string, unknown, undefined>({
    description: facts.description,
    default: { says: facts.says, value: undefined },
    json: { type: "string", minLength: 1, pattern: "^[^\\u0000]*$" },
    check: (value, name) => {
      if (typeof value !== "string" || value === "" || value.includes("\0"))
        throw expected("a string that is not empty", name, value);
      return value;
    },
  });

/** Where a model's files come from. */
export const SOURCE = {
  /** Branch, tag or commit of an `hf:` model, such as "refs/pr/1". Default: "main". */
  revision: word({ description: "Branch, tag or commit of an hf: model.", says: '"main"' }),
  /** Access token for private or gated hub models. Default: `HF_TOKEN`, then the token that `hf auth login` stored. */
  token: option<string, string, unknown, undefined>({
    description: "Access token for private or gated hub models.",
    default: { says: "`HF_TOKEN`, then the token that `hf auth login` stored", value: undefined },
    json: { type: "string" },
    check: (value, name) => {
      // The type alone is shown: the value is a secret.
      if (typeof value !== "string") throw expected("a string", name, typeof value);
      return value;
    },
  }),
  /** Use only what lies on this machine, without any network request. Default: `HF_HUB_OFFLINE`. */
  offline: boolean({
    description: "Use only what lies on this machine, without any network request.",
    default: { says: "`HF_HUB_OFFLINE`", value: undefined },
  }),
  /**
   * Folder for downloaded models: hub files lie in it as in the hub's own cache (`models--owner--name/…`), models from
   * wheels under `lowrank/`. Default: the hub's usual cache and `~/.cache/lowrank/models`.
   */
  cacheDirectory: word({
    description: "Folder for downloaded models.",
    says: "the hub's usual cache and `~/.cache/lowrank/models`",
  }),
};

const RESOLVING = {
  /** Called with the state of downloads, checks and fallbacks. */
  onProgress: callback<OnModelSourceProgress>({
    description: "Called with the state of downloads, checks and fallbacks.",
  }),
  /** Stops the work with ERR_ABORTED; what was downloaded so far is kept and resumed the next time. */
  signal: signal({ description: "Stops the work." }),
};

export const RESOLVE: typeof SOURCE & typeof RESOLVING = { ...SOURCE, ...RESOLVING };

/** Options of {@link resolveModel}. */
export interface ResolveModelOptions extends OptionsOf<typeof SOURCE>, OptionsOf<typeof RESOLVING> {}
