import { flattenSteps, type JsonObject, own, ownFlag } from "./json.js";
import { compilePattern, type Pattern } from "./split-pattern.js";
import { replaceMatches, replaceString } from "./text-builder.js";
import { unsupported } from "./tokenizer-errors.js";
import { isWhiteSpace } from "./white-space.js";

type Form = "NFC" | "NFD" | "NFKC" | "NFKD";

/** One step of a normalizer, checked, with the keys that count. */
export type NormalizerStep =
  | { readonly type: Form }
  | { readonly type: "Lowercase" }
  | { readonly type: "Prepend"; readonly prepend: string }
  | { readonly type: "Replace"; readonly pattern: Pattern; readonly content: string }
  | { readonly type: "Strip"; readonly left: boolean; readonly right: boolean };

export interface Normalizer {
  /** Null where the text, or what a step makes of it, would be longer than `limit` UTF-16 units. */
  readonly apply: (text: string, limit: number) => string | null;
  /** False where a pattern may take 100 ms for 8,192 characters: run it in a worker only. */
  readonly trusted: boolean;
  /** How many times longer a text may become at most. */
  readonly growth: number;
}

const NAME = "normalizer";
const MAX_TEXT = 1024;
/** Times that UTF-16 may grow at most. Source: Unicode Standard Annex #15, table "Maximum Expansion Factors". */
const FORM_GROWTH: Readonly<Record<Form, number>> = { NFC: 3, NFD: 4, NFKC: 18, NFKD: 18 };
/** U+0130 is the only character whose lower case is longer in UTF-16. */
const LONGER_IN_LOWER_CASE = "\u0130";

/** Reads the `normalizer` of a tokenizer.json. Throws ERR_TOKENIZER for an unknown step. */
export function readNormalizer(config: unknown): NormalizerStep[] {
  return flattenSteps(config, "normalizers", NAME).map(readStep);
}

function readStep(step: JsonObject): NormalizerStep {
  const type = own(step, "type");
  switch (type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "Lowercase":
      return { type };
    case "Prepend":
      return { type, prepend: textOf(step, "prepend") };
    case "Replace":
      return { type, pattern: patternOf(own(step, "pattern"), NAME), content: textOf(step, "content") };
    case "Strip":
      return {
        type,
        left: ownFlag(step, "strip_left", true, NAME),
        right: ownFlag(step, "strip_right", true, NAME),
      };
    default:
      throw unsupported("Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase or Strip", NAME, type);
  }
}

function textOf(step: JsonObject, key: string): string {
  const value = own(step, key);
  if (typeof value !== "string" || value.length > MAX_TEXT)
    throw unsupported(`a string of at most ${MAX_TEXT} characters`, `${NAME}.${key}`, value);
  return value;
}

/** The key of a pattern that counts. Throws ERR_TOKENIZER for what is no pattern; `compilePattern` checks what it says. */
export function patternOf(pattern: unknown, name: string): Pattern {
  const regex = own(pattern, "Regex");
  const literal = own(pattern, "String");
  if (typeof regex === "string" && literal === undefined) return { Regex: regex };
  if (typeof literal === "string" && literal !== "" && regex === undefined) return { String: literal };
  throw unsupported('{"Regex": …} or {"String": …}', `${name}.pattern`, regex ?? literal ?? pattern);
}

/** Applies the steps with the meaning of Hugging Face's Rust library. Null where there are none. */
export function compileNormalizer(steps: readonly NormalizerStep[]): Normalizer | null {
  if (steps.length === 0) return null;
  const compiled = steps.map(compileStep);
  return {
    apply: (text, limit) =>
      compiled.reduce<string | null>((current, { apply }) => current && apply(current, limit), text),
    trusted: compiled.every(({ trusted }) => trusted),
    growth: compiled.reduce((growth, step) => growth * step.growth, 1),
  };
}

function compileStep(step: NormalizerStep): Normalizer {
  const known = (growth: number, apply: Normalizer["apply"]): Normalizer => ({
    trusted: true,
    growth,
    apply,
  });
  switch (step.type) {
    case "Prepend":
      return known(1 + step.prepend.length, (text, limit) =>
        text.length + step.prepend.length > limit ? null : step.prepend + text,
      );
    case "Replace": {
      const { pattern, content } = step;
      const compiled = compilePattern(pattern, `${NAME}.pattern`);
      const literal = "String" in pattern ? pattern.String : "";
      // What the library does with empty matches depends on its version.
      if (compiled.matchesEmpty())
        throw unsupported("an expression that matches no empty text", `${NAME}.pattern`, pattern);
      const growth = 1 + content.length;
      return literal === ""
        ? {
            trusted: compiled.trusted,
            growth,
            apply: (text, limit) => replaceMatches(text, compiled, content, limit),
          }
        : known(Math.max(1, content.length / literal.length), (text, limit) =>
            replaceString(text, literal, content, limit),
          );
    }
    case "Lowercase":
      return known(2, lowerCase);
    case "Strip":
      return known(1, (text) => strip(text, step.left, step.right));
    default:
      return known(FORM_GROWTH[step.type], (text, limit) => normalize(text, step.type, limit));
  }
}

function normalize(text: string, form: Form, limit: number): string | null {
  if (text.length * FORM_GROWTH[form] > limit && normalizedLength(text, form, limit) > limit) return null;
  return text.normalize(form);
}

/** Units that are normalised at a time only to learn how long they become. */
const PROBE = 1 << 14;

/** Length of the normalised text, but for what composes across the borders of probes; may stop once past the limit. */
function normalizedLength(text: string, form: Form, limit: number): number {
  let length = 0;
  for (let start = 0; start < text.length && length <= limit;) {
    let end = Math.min(start + PROBE, text.length);
    if (end < text.length && (text.charCodeAt(end) & 0xfc00) === 0xdc00) ++end;
    length += text.slice(start, end).normalize(form).length;
    start = end;
  }
  return length;
}

/** By code point, as Rust does: JavaScript's rule for whole texts makes a final sigma, which is its only rule with a context. */
function lowerCase(text: string, limit: number): string | null {
  let length = text.length;
  for (let at = text.indexOf(LONGER_IN_LOWER_CASE); at >= 0; at = text.indexOf(LONGER_IN_LOWER_CASE, at + 1))
    ++length;
  return length > limit ? null : (replaceString(text, "\u03a3", "\u03c3", limit)?.toLowerCase() ?? null);
}

/** Takes White_Space off the ends; unlike String.trim it leaves U+FEFF and takes U+0085. */
function strip(text: string, left: boolean, right: boolean): string {
  let start = 0;
  let end = text.length;
  while (left && start < end && isWhiteSpace(text, start)) ++start;
  while (right && end > start && isWhiteSpace(text, end - 1)) --end;
  return text.slice(start, end);
}
