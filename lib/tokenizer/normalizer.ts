import { compilePattern, replaceMatches } from "./split-pattern.js";
import { unsupported } from "./tokenizer-errors.js";

export interface Normalizer {
  readonly apply: (text: string) => string;
  /** False where a pattern may take 100 ms for 8,192 characters: run it in a worker only. */
  readonly trusted: boolean;
}

/** Most steps of a Sequence, nested ones counted. */
const MAX_STEPS = 64;

/**
 * Compiles the `normalizer` of a tokenizer.json, with the meaning of Hugging Face's Rust library.
 * Throws ERR_TOKENIZER for an unknown step.
 */
export function compileNormalizer(config: unknown): Normalizer | null {
  const steps: ((text: string) => string)[] = [];
  let trusted = true;
  const add = (step: Record<string, unknown> | null | undefined, depth: number): void => {
    if (step === null || step === undefined) return;
    if (depth > 8 || steps.length > MAX_STEPS) throw refuse("at most 64 steps, 8 deep", step["type"]);
    switch (step["type"]) {
      case "Sequence":
        if (!Array.isArray(step["normalizers"])) throw refuse("a list of normalizers", "Sequence");
        for (const inner of step["normalizers"] as Record<string, unknown>[]) add(inner, depth + 1);
        return;
      case "NFC":
      case "NFD":
      case "NFKC":
      case "NFKD": {
        const form = step["type"];
        steps.push((text) => text.normalize(form));
        return;
      }
      case "Prepend": {
        const prefix = textOf(step["prepend"], "prepend");
        steps.push((text) => (text === "" ? text : prefix + text));
        return;
      }
      case "Replace": {
        const compiled = compilePattern(step["pattern"], "normalizer.pattern");
        const content = textOf(step["content"], "content");
        trusted &&= compiled.trusted;
        steps.push((text) => replaceMatches(text, compiled, content));
        return;
      }
      case "Lowercase":
        // By code point, as Rust does: JavaScript's whole-string rule would make a final sigma.
        steps.push((text) =>
          text.replace(/\p{Changes_When_Lowercased}/gu, (character) => character.toLowerCase()),
        );
        return;
      case "Strip": {
        const { strip_left: left, strip_right: right } = step;
        steps.push((text) => strip(text, left !== false, right !== false));
        return;
      }
      default:
        throw refuse("Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase or Strip", step["type"]);
    }
  };
  add(config as Record<string, unknown> | null, 0);
  if (steps.length === 0) return null;
  return { apply: (text) => steps.reduce((current, step) => step(current), text), trusted };
}

/** Takes White_Space off the ends; unlike String.trim it leaves U+FEFF and takes U+0085. */
function strip(text: string, left: boolean, right: boolean): string {
  let start = 0;
  let end = text.length;
  while (left && start < end && isWhiteSpace(text, start)) ++start;
  while (right && end > start && isWhiteSpace(text, end - 1)) --end;
  return text.slice(start, end);
}

/** True where the UTF-16 unit at `at` is White_Space; all of White_Space lies in the basic plane. */
export function isWhiteSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x85 || (code !== 0xfeff && text[at]!.trim() === "");
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== "string" || value.length > 1024)
    throw refuse(`a string of at most 1,024 characters as ${name}`, value);
  return value;
}

const refuse = (what: string, received: unknown): Error => unsupported(what, "normalizer", received);
