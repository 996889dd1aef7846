import { createContext, Script } from "node:vm";
import { LowrankError } from "../errors/index.js";

/** Time that all patterns of one adapter may take together: they come from a file and may backtrack without end. */
const TIMEOUT_MS = 250;
const MAX_PATTERN_LENGTH = 4096;
const MAX_PATTERNS = 4096;

const script = new Script(
  "patterns.map((source) => { const pattern = new RegExp(source); return names.map((name) => pattern.test(name)); })",
);

/**
 * For each pattern, which of the names it matches. Patterns are Python's (module `re`); what its syntax shares with JavaScript's is all
 * that configurations use. They run in a context of their own that is stopped after 250 ms.
 *
 * Throws ERR_ADAPTER_FORMAT for a pattern that is invalid, too long or takes too long.
 */
export function matchPatterns(patterns: string[], names: string[], key: string): boolean[][] {
  if (patterns.length === 0) return [];
  if (patterns.length > MAX_PATTERNS || patterns.some((pattern) => pattern.length > MAX_PATTERN_LENGTH))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected at most ${MAX_PATTERNS} patterns of at most ${MAX_PATTERN_LENGTH} characters for ${key}.`,
    );
  const translated = patterns.map((pattern) => pattern.replaceAll("(?P<", "(?<").replaceAll("\\Z", "$"));
  const context = createContext({ patterns: translated, names });
  try {
    const matches = script.runInContext(context, { timeout: TIMEOUT_MS }) as boolean[][];
    return Array.from(matches, (row) => Array.from(row));
  } catch (cause) {
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected regular expressions that end within ${TIMEOUT_MS} ms for ${key}: ${(cause as Error).message}.`,
      { cause },
    );
  }
}

/** re.fullmatch(pattern, name) */
export const fullMatch = (pattern: string): string => `^(?:${pattern})$`;

/** PEFT's rule for the keys of rank_pattern and alpha_pattern: re.match(rf"(.*\.)?({key})$", name) */
export const suffixMatch = (key: string): string => `^(?:.*\\.)?(?:${key})$`;
