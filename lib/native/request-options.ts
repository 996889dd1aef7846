import { randomBytes } from "node:crypto";
import { checkTokens } from "../errors/check.js";
import { expected } from "../errors/index.js";
import { boolean, integer, number, option, text, type CheckedOf } from "../schema/index.js";

/** What the check of some options depends on. */
export interface VocabularyContext {
  readonly vocabularySize: number;
}

const MAX_SEED = (1n << 64n) - 1n;

/** An added logit. */
const BIAS = number<unknown, never>({
  description: "Added to the token's logit.",
  min: -1e9,
  max: 1e9,
  required: true,
});

function checkBias(bias: unknown, vocabularySize: number): { ids: Int32Array; values: Float32Array } {
  if (typeof bias !== "object" || bias === null || Array.isArray(bias))
    throw expected("an object of token ids and numbers", "logitBias", bias);
  const entries = Object.entries(bias as Record<string, unknown>);
  const ids = entries.map(([id]) => (/^\d+$/.test(id) ? Number(id) : id));
  return {
    ids: checkTokens("logitBias", ids, vocabularySize),
    values: Float32Array.from(entries, ([id, value]) => BIAS.check(`logitBias[${id}]`, value, undefined)),
  };
}

/** How a token is drawn: options of a request that the sampler takes as they are, but for the form of `logitBias`. */
export const SAMPLING = {
  /** 0 takes the most likely token each time; above, probabilities are those of logits / temperature. 0 … 100, default 0. */
  temperature: number({
    description: "0 takes the most likely token each time; above, logits are divided by it.",
    min: 0,
    max: 100,
    default: 0,
  }),
  /** Keep the k most likely tokens; 0 keeps all. 0 … 2^31-1, default 0. */
  topK: integer({
    description: "Keep the k most likely tokens; 0 keeps all.",
    unit: "tokens",
    min: 0,
    max: 2 ** 31 - 1,
    default: 0,
  }),
  /** Then the fewest whose probabilities add up to p. Above 0, up to 1; default 1 (all). */
  topP: number({
    description: "Keep the fewest tokens whose probabilities add up to p; 1 keeps all.",
    min: 0,
    aboveMin: true,
    max: 1,
    default: 1,
  }),
  /** Then those with at least minP times the highest probability. 0 … 1, default 0 (all). */
  minP: number({
    description: "Keep tokens with at least minP times the highest probability; 0 keeps all.",
    min: 0,
    max: 1,
    default: 0,
  }),
  /** Divides (or, where negative, multiplies) the logits of tokens that occurred in prompt or answer. 0.01 … 100, default 1. */
  repetitionPenalty: number({
    description:
      "Divides the logits of tokens that occurred in prompt or answer, or multiplies negative ones.",
    min: 0.01,
    max: 100,
    default: 1,
  }),
  /** Subtracted once from the logit of each token that was generated. -100 … 100, default 0. */
  presencePenalty: number({
    description: "Subtracted once from the logit of each token that was generated.",
    min: -100,
    max: 100,
    default: 0,
  }),
  /** Subtracted for each time a token was generated. -100 … 100, default 0. */
  frequencyPenalty: number({
    description: "Subtracted from a token's logit for each time that it was generated.",
    min: -100,
    max: 100,
    default: 0,
  }),
  /** Added to the logits of tokens, each from -1e9 to 1e9: `{ 42: -100 }` forbids token 42. Default: none. */
  logitBias: option<
    Record<number, number>,
    { ids: Int32Array; values: Float32Array },
    VocabularyContext,
    { ids: Int32Array; values: Float32Array }
  >({
    description: "Added to the logits of tokens, by token id.",
    default: { says: "none", value: () => ({ ids: new Int32Array(0), values: new Float32Array(0) }) },
    json: {
      type: "object",
      patternProperties: { "^\\d+$": BIAS.json(undefined) },
      additionalProperties: false,
    },
    check: (bias, _name, { vocabularySize }) => checkBias(bias, vocabularySize),
  }),
  /**
   * The same seed, prompt and options give the same text. An integer, 0 … 2^53-1, or a BigInt up to 2^64-1; default: a random one,
   * which the result tells.
   */
  seed: option<number | bigint, bigint, unknown, bigint>({
    description: "The same seed, prompt and options give the same text.",
    default: {
      says: "a random one, which the result tells",
      value: () => randomBytes(8).readBigUInt64LE(),
    },
    json: { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    check: (seed, name) => {
      if (typeof seed === "number" && Number.isSafeInteger(seed) && seed >= 0) return BigInt(seed);
      if (typeof seed === "bigint" && seed >= 0n && seed <= MAX_SEED) return seed;
      throw expected("an integer from 0 to 2^53-1 or a BigInt from 0 to 2^64-1", name, seed);
    },
  }),
};

/** Checked sampling options in the form that the addon takes. */
export type SamplingOptions = Omit<CheckedOf<typeof SAMPLING>, "logitBias"> & {
  /** Token ids and what is added to their logits. */
  logitBiasIds: Int32Array;
  logitBiasValues: Float32Array;
};

export function nativeSampling({ logitBias, ...rest }: CheckedOf<typeof SAMPLING>): SamplingOptions {
  return { ...rest, logitBiasIds: logitBias.ids, logitBiasValues: logitBias.values };
}

/** How a request is served among others. None of it changes what it gets, only when. */
export const SERVED = {
  /**
   * Requests of higher priority are served first, and take the places of running ones of less where there are not enough; those go on
   * later. A waiting request gains a level every 5 s. An integer, -100 … 100, default 0.
   */
  priority: integer({
    description: "Requests of higher priority are served first.",
    min: -100,
    max: 100,
    default: 0,
  }),
  /** The request fails with ERR_TIMEOUT when it has not ended so many milliseconds after it was made. 1 … 2^31-1; default: none. */
  timeoutMs: number({
    description: "The request fails when it has not ended so long after it was made.",
    unit: "milliseconds",
    min: 1,
    max: 2 ** 31 - 1,
    default: { says: "none", value: 0 },
  }),
  /**
   * Use what was computed for earlier requests that began with the same tokens and adapters, and keep this one's for later ones.
   * Default true.
   */
  prefixCache: boolean({
    description: "Use what was computed for earlier requests that began with the same tokens and adapters.",
    default: true,
  }),
  /**
   * Requests with different salts share nothing of the prefix cache, so that no customer can learn by timing what another one asked.
   * At most 256 characters, default "".
   */
  cacheSalt: text({
    description: "Requests with different salts share nothing of the prefix cache.",
    maxLength: 256,
    default: "",
  }),
};

/** Checked: `timeoutMs` 0 stands for none. */
export type ServedRequest = CheckedOf<typeof SERVED>;
