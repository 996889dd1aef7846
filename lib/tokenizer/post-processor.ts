import { own } from "./json.js";
import { checkTokenId } from "./tokenizer-definition.js";
import { unsupported } from "./tokenizer-errors.js";

export interface AddedAround {
  readonly prefix: number[];
  readonly suffix: number[];
}

/** Most ids put around a text. */
const MAX_AROUND = 256;

/**
 * Reads the `post_processor` of a tokenizer.json: the ids that it puts before and behind a single text.
 * Throws ERR_TOKENIZER for an unknown kind or an id out of range.
 */
export function compilePostProcessor(config: unknown, size: number): AddedAround {
  const around: AddedAround = { prefix: [], suffix: [] };
  const add = (step: Record<string, unknown> | null | undefined, depth: number): void => {
    if (step === null || step === undefined) return;
    if (depth > 8) throw refuse("at most 8 levels", step["type"]);
    switch (step["type"]) {
      case "Sequence":
        if (!Array.isArray(step["processors"])) throw refuse("a list of processors", "Sequence");
        for (const inner of step["processors"] as Record<string, unknown>[]) add(inner, depth + 1);
        return;
      case "ByteLevel":
        return; // changes offsets only
      case "TemplateProcessing":
        return addTemplate(step, around, size);
      case "BertProcessing":
      case "RobertaProcessing":
        around.prefix.unshift(idOfPair(step["cls"], size));
        around.suffix.push(idOfPair(step["sep"], size));
        return;
      default:
        throw refuse(
          "Sequence, ByteLevel, TemplateProcessing, BertProcessing or RobertaProcessing",
          step["type"],
        );
    }
  };
  add(config as Record<string, unknown> | null | undefined, 0);
  if (around.prefix.length + around.suffix.length > MAX_AROUND)
    throw refuse(`at most ${MAX_AROUND} tokens around a text`, around.prefix.length);
  return around;
}

function addTemplate(step: Record<string, unknown>, around: AddedAround, size: number): void {
  const { single, special_tokens: tokens } = step;
  if (!Array.isArray(single)) throw refuse("a list as single", single);
  const before: number[] = [];
  let side = before;
  for (const piece of single as unknown[]) {
    if (own(piece, "Sequence") !== undefined) {
      if (side !== before) throw refuse("one sequence in single", piece);
      side = around.suffix;
      continue;
    }
    const name = own(own(piece, "SpecialToken"), "id");
    const ids = typeof name === "string" ? own(own(tokens, name), "ids") : undefined;
    if (!Array.isArray(ids)) throw refuse("special tokens with their ids", piece);
    for (const id of ids as unknown[]) side.push(checkTokenId(id, size, "post_processor.special_tokens"));
  }
  if (side === before) throw refuse("a sequence in single", single.length);
  around.prefix.unshift(...before);
}

function idOfPair(pair: unknown, size: number): number {
  if (!Array.isArray(pair)) throw refuse("a pair [token, id]", pair);
  return checkTokenId(pair[1], size, "post_processor");
}

const refuse = (what: string, received: unknown): Error => unsupported(what, "post_processor", received);
