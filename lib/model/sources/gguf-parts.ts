import { basename } from "node:path";
import { LowrankError } from "../../errors/index.js";

/** Files that one model may be split into; the engine opens no more. */
const MAX_PARTS = 512;

interface GgufPart {
  /** The name before the numbers. */
  base: string;
  /** From 1 on. */
  number: number;
  count: number;
}

/** What llama.cpp's gguf-split calls the parts of a file: `<base>-00001-of-00003.gguf`. Undefined for a file that is whole. */
function parsePart(name: string): GgufPart | undefined {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s.exec(name);
  if (match === null) return undefined;
  const [, base, number, count] = match;
  const part = { base: base!, number: Number(number), count: Number(count) };
  return part.count > 1 && part.count <= MAX_PARTS ? part : undefined;
}

/** The model's name by that of its file, or of its first part. */
export function ggufModelName(name: string): string {
  return (parsePart(name)?.base ?? name).replace(/\.gguf$/i, "");
}

/**
 * The names of all files of the GGUF model that `name`, with or without folders, stands for: itself, or its parts in order.
 * Throws ERR_MODEL_FORMAT for a part that is not the first.
 */
export function ggufFiles(name: string): string[] {
  const part = parsePart(name);
  if (part === undefined) return [name];
  const { base, number, count } = part;
  const names = Array.from({ length: count }, (_, i) => {
    const digits = (value: number): string => String(value).padStart(5, "0");
    return `${base}-${digits(i + 1)}-of-${digits(count)}.gguf`;
  });
  if (number === 1) return names;
  throw new LowrankError(
    "ERR_MODEL_FORMAT",
    `Expected the first of ${count} parts of a split GGUF model, received ${basename(name)}. Pass ${names[0]!}.`,
    { details: { path: name } },
  );
}

/** The GGUF files among `names`, of split ones the first part alone. */
export function ggufModels(names: readonly string[]): string[] {
  return names.filter((name) => /\.gguf$/i.test(name) && (parsePart(name)?.number ?? 1) === 1);
}

/** Throws ERR_MODEL_FORMAT where some of `files` are missing. */
export function requireAllParts(files: readonly string[], missing: readonly string[], origin: string): void {
  if (missing.length === 0) return;
  const shown = missing.slice(0, 3).map((file) => basename(file));
  throw new LowrankError(
    "ERR_MODEL_FORMAT",
    `Expected all ${files.length} parts of a split GGUF model in ${origin}, received ${files.length - missing.length}; ` +
      `${shown.join(", ")} missing. Bring the missing files over.`,
    { details: { origin, missing: missing.slice(0, 100) } },
  );
}
