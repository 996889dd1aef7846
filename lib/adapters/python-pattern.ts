import { LowrankError } from "../errors/index.js";
import { checkPattern, Pattern, PatternError } from "../patterns/index.js";

const MAX_PATTERN_LENGTH = 4096;
const MAX_PATTERNS = 4096;
/** Steps that all patterns of a key may take together, about 20 ms: they come from a file. */
const MAX_STEPS = 400_000;
/** What it costs to compile one character or one instruction, in steps. */
const COMPILE_STEPS = 10;

/** A pattern of Python's module `re`, and how PEFT applies it. */
export interface PythonPattern {
  readonly source: string;
  readonly rule: "full" | "suffix";
}

/** re.fullmatch(pattern, name) */
export const fullMatch = (source: string): PythonPattern => ({ source, rule: "full" });

/** PEFT's rule for the keys of rank_pattern and alpha_pattern: re.match(rf"(.*\.)?({key})$", name) */
export const suffixMatch = (source: string): PythonPattern => ({ source, rule: "suffix" });

/**
 * For each pattern, which of the names it matches, as Python 3.11 and later would find. The work is bounded for all patterns together.
 *
 * Throws ERR_ADAPTER_FORMAT for a pattern that is invalid or too long, or patterns that take too many steps; ERR_ADAPTER_UNSUPPORTED for
 * one with parts that cannot be matched in bounded time, such as back-references.
 */
export function matchPatterns(patterns: PythonPattern[], names: string[], key: string): boolean[][] {
  if (patterns.length > MAX_PATTERNS || patterns.some(({ source }) => source.length > MAX_PATTERN_LENGTH))
    throw new LowrankError(
      "ERR_ADAPTER_FORMAT",
      `Expected at most ${MAX_PATTERNS} patterns of at most ${MAX_PATTERN_LENGTH} characters for ${key}.`,
    );
  let steps = 0;
  const spend = (more: number, source: string): void => {
    steps += more;
    if (steps > MAX_STEPS) throw tooLong(source, key);
  };
  const oneLine = names.every((name) => !name.includes("\n"));
  return patterns.map((pattern) => {
    const { source, rule } = pattern;
    if (rule === "suffix" && oneLine && PLAIN.test(source)) return names.map(plainSuffix(source));
    return names.map(matcherOf(pattern, key, (more) => spend(more, source)));
  });
}

/** Decides whether a name matches. */
function matcherOf(
  pattern: PythonPattern,
  key: string,
  spend: (steps: number) => void,
): (name: string) => boolean {
  const { source, rule } = pattern;
  const compile = (text: string): Pattern => {
    const compiled = new Pattern(text, "python");
    spend(COMPILE_STEPS * (text.length + compiled.size));
    return compiled;
  };
  const matcher = (
    compiled: Pattern,
    starts: (name: string) => Iterable<number>,
  ): ((name: string) => boolean) => {
    const search = compiled.search("");
    return (name) => {
      search.restart(name);
      try {
        for (const start of starts(name)) if (search.match(start, rule === "full")) return true;
        return false;
      } catch (cause) {
        throw cause instanceof PatternError ? tooLong(source, key, cause) : cause;
      } finally {
        spend(search.steps);
      }
    };
  };
  try {
    if (rule === "full") return matcher(compile(source), () => [0]);
    if (isPattern(source)) return matcher(compile(`(${source})$`), startsOf);
    return matcher(compile(`${PREFIX}${source})$`), () => [0]);
  } catch (cause) {
    if (!(cause instanceof PatternError)) throw cause;
    throw refusal(cause, pattern, key);
  }
}

const PREFIX = "(.*\\.)?(";

/** Names of modules as they are: letters, digits, hyphens, dots, escaped dots. They may be many, and need no program on one line. */
const PLAIN = /^(?:[A-Za-z0-9_-]|\\?\.)+$/;

function plainSuffix(source: string): (name: string) => boolean {
  const units = source.match(/\\?./g)!;
  return (name) => {
    const start = name.length - units.length;
    if (start < 0 || (start > 0 && name[start - 1] !== ".")) return false;
    return units.every((unit, index) => {
      const character = name[start + index]!;
      return unit === "." || character === (unit === "\\." ? "." : unit);
    });
  };
}

/** Is the key a pattern by itself, so that the group around it is the one PEFT means? */
function isPattern(source: string): boolean {
  try {
    checkPattern(source, "python");
    return true;
  } catch (cause) {
    if (cause instanceof PatternError) return false;
    throw cause;
  }
}

/** Where the key may begin to match: at the start of a name, or behind one of its dots. */
function* startsOf(name: string): Iterable<number> {
  yield 0;
  const line = name.includes("\n") ? name.slice(0, name.indexOf("\n")) : name;
  for (let dot = line.indexOf("."); dot >= 0; dot = line.indexOf(".", dot + 1)) yield dot + 1;
}

const shown = (source: string): string =>
  JSON.stringify(source.length > 80 ? `${source.slice(0, 80)}…` : source);

function refusal(cause: PatternError, { source, rule }: PythonPattern, key: string): LowrankError {
  const fault = rule === "full" ? cause : cause.moved(isPattern(source) ? -1 : -PREFIX.length);
  if (cause.kind === "unsupported")
    return new LowrankError(
      "ERR_ADAPTER_UNSUPPORTED",
      `Expected a regular expression that can be matched in bounded time for ${key}, received ${shown(source)} with ${fault.message}. Write it without, or list the modules.`,
      { cause },
    );
  return new LowrankError(
    "ERR_ADAPTER_FORMAT",
    `Expected a regular expression of Python for ${key}, received ${shown(source)} with ${fault.message}.`,
    { cause },
  );
}

const tooLong = (source: string, key: string, cause?: unknown): LowrankError =>
  new LowrankError(
    "ERR_ADAPTER_FORMAT",
    `Expected regular expressions of at most ${MAX_STEPS} steps in all for ${key}, received ${shown(source)}, which takes more. List the modules instead.`,
    cause === undefined ? {} : { cause },
  );
