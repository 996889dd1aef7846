import { flattenSteps, type JsonObject, own } from "./json.js";
import { checkTokenId } from "./tokenizer-definition.js";
import { unsupported } from "./tokenizer-errors.js";

export interface AddedAround {
  readonly prefix: number[];
  readonly suffix: number[];
}

const NAME = "post_processor";
/** Most ids put around a text. */
const MAX_AROUND = 256;

/**
 * Reads the `post_processor` of a tokenizer.json: the ids that it puts before and behind a single text.
 * Throws ERR_TOKENIZER for an unknown kind or an id out of range.
 */
export function compilePostProcessor(config: unknown, size: number): AddedAround {
  const around: AddedAround = { prefix: [], suffix: [] };
  for (const step of flattenSteps(config, "processors", NAME)) {
    const type = own(step, "type");
    switch (type) {
      case "ByteLevel":
        break; // changes offsets only
      case "TemplateProcessing":
        addTemplate(step, around, size);
        break;
      case "BertProcessing":
      case "RobertaProcessing":
        around.prefix.unshift(idOfPair(own(step, "cls"), size));
        around.suffix.push(idOfPair(own(step, "sep"), size));
        break;
      default:
        throw refuse("Sequence, ByteLevel, TemplateProcessing, BertProcessing or RobertaProcessing", type);
    }
  }
  if (around.prefix.length + around.suffix.length > MAX_AROUND) throw tooMany();
  return around;
}

function addTemplate(step: JsonObject, around: AddedAround, size: number): void {
  const single = own(step, "single");
  const tokens = own(step, "special_tokens");
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
    if (before.length + around.suffix.length + ids.length > MAX_AROUND) throw tooMany();
    for (const id of ids as unknown[]) side.push(checkTokenId(id, size, "post_processor.special_tokens"));
  }
  if (side === before) throw refuse("a sequence in single", single.length);
  around.prefix.unshift(...before);
}

function idOfPair(pair: unknown, size: number): number {
  if (!Array.isArray(pair)) throw refuse("a pair [token, id]", pair);
  return checkTokenId(pair[1], size, "post_processor");
}

const tooMany = (): Error => refuse(`at most ${MAX_AROUND} tokens around a text`, "more");

const refuse = (what: string, received: unknown): Error => unsupported(what, NAME, received);
