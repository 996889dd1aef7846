import type { AddedToken } from "./added-tokens.js";
import { BYTE_OF_CHARACTER, byteToken } from "./byte-alphabet.js";
import { ByteBuffer } from "./byte-buffer.js";
import { flattenSteps, own } from "./json.js";
import { characterOf, schemeOf } from "./pre-tokenizer.js";
import { replaceString } from "./text-builder.js";
import { unsupported } from "./tokenizer-errors.js";
import { MAX_TOKEN_BYTES, MAX_VOCABULARY_BYTES, type Vocabulary } from "./vocabulary.js";

/** What the `decoder` of a tokenizer.json comes to for the supported kinds: a rule from tokens to bytes. */
export interface DecoderRule {
  /** GPT-2's byte alphabet. */
  readonly byteLevel: boolean;
  /** Tokens <0x00> .. <0xFF> stand for one byte. */
  readonly byteFallback: boolean;
  /** Replacements inside each token, in order. */
  readonly replacements: readonly { readonly from: string; readonly to: string }[];
  /** Up to `count` of `content` are taken off the beginning of the whole text. */
  readonly strip: { readonly content: string; readonly count: number } | null;
  /** This character vanishes from the first token altogether (Metaspace). */
  readonly dropFromFirst: string | null;
  /** Put between tokens (" " where there is no decoder). */
  readonly separator: string;
}

const NAME = "decoder";
/** Longest string to replace, to put in its place, or to take off, in UTF-16 units. */
const MAX_TEXT = 1024;

/** <0x00> .. <0xFF>, between characters that no string to replace can have at both ends. */
const BYTE_TOKENS = Array.from({ length: 256 }, (_, byte) => byteToken(byte)).join("\0");

/** Reads the `decoder` of a tokenizer.json. Throws ERR_TOKENIZER for a kind whose output is no plain sequence of bytes. */
export function compileDecoder(config: unknown): DecoderRule {
  const rule = {
    byteLevel: false,
    byteFallback: false,
    replacements: [] as { from: string; to: string }[],
    strip: null as DecoderRule["strip"],
    dropFromFirst: null as string | null,
    separator: config === null || config === undefined ? " " : "",
  };
  let fused = false;
  const text = (value: unknown, what: string): string => {
    if (typeof value !== "string" || value.length > MAX_TEXT)
      throw refuse(`a string of at most ${MAX_TEXT} characters as ${what}`, value);
    return value;
  };
  for (const step of flattenSteps(config, "decoders", NAME)) {
    const type = own(step, "type");
    if (fused && type !== "Fuse" && type !== "Strip") throw refuse("Strip alone behind Fuse", type);
    if (rule.byteLevel && type !== "Fuse") throw refuse("Fuse alone behind ByteLevel", type);
    if (rule.byteFallback && (type === "Replace" || type === "Metaspace"))
      throw refuse("no Replace behind ByteFallback", type);
    switch (type) {
      case "ByteLevel":
        if (rule.replacements.length > 0 || rule.byteFallback)
          throw refuse("ByteLevel as the first step", type);
        rule.byteLevel = true;
        break;
      case "ByteFallback":
        if (rule.replacements.some(({ from }) => BYTE_TOKENS.includes(from)))
          throw refuse("no Replace that changes byte tokens before ByteFallback", type);
        rule.byteFallback = true;
        break;
      case "Fuse":
        fused = true;
        break;
      case "Replace": {
        const from = text(own(own(step, "pattern"), "String"), "pattern.String");
        if (from === "") throw refuse("a Replace of one string by another", from);
        rule.replacements.push({ from, to: text(own(step, "content"), "content") });
        break;
      }
      case "Metaspace": {
        const mark = characterOf(step, "replacement", "\u2581", NAME);
        if (schemeOf(step, NAME) !== "never") rule.dropFromFirst = mark;
        rule.replacements.push({ from: mark, to: " " });
        break;
      }
      case "Strip": {
        const content = characterOf(step, "content", undefined, NAME);
        const start = own(step, "start");
        if (
          !fused ||
          rule.strip !== null ||
          !Number.isSafeInteger(start) ||
          (start as number) < 0 ||
          own(step, "stop") !== 0
        )
          throw refuse("one Strip of the beginning behind Fuse", type);
        rule.strip = { content, count: start as number };
        break;
      }
      default:
        throw refuse("Sequence, ByteLevel, ByteFallback, Fuse, Replace, Metaspace or Strip", type);
    }
  }
  return rule;
}

const refuse = (what: string, received: unknown): Error => unsupported(what, NAME, received);

/** What stands for each added token in a decoded text: its content, normalised where it is looked for in normalised text. */
export const decodedContents = (tokens: readonly AddedToken[]): Map<number, string> =>
  new Map(tokens.map(({ id, normalized, content }) => [id, normalized ?? content]));

/** Tokens to bytes, by the rule of the tokenizer. `DecodingPosition` holds what depends on the place in the text. */
export class TokenDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #rule: DecoderRule;
  readonly #added: ReadonlyMap<number, string>;
  readonly #replacements: readonly { readonly from: Buffer; readonly to: string }[];
  readonly #separator: Buffer;

  /** @param added what stands for each added token */
  constructor(vocabulary: Vocabulary, rule: DecoderRule, added: ReadonlyMap<number, string>) {
    this.#vocabulary = vocabulary;
    this.#rule = rule;
    this.#added = added;
    this.#replacements = rule.replacements.map(({ from, to }) => ({ from: Buffer.from(from), to }));
    this.#separator = Buffer.from(rule.separator);
  }

  /** Appends the bytes of a token in the middle of a text. Ids out of range have none. */
  append(id: number, out: ByteBuffer): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.#vocabulary.size) return;
    const added = this.#added.get(id);
    const utf8 = added === undefined ? this.#vocabulary.utf8Of(id) : Buffer.from(added);
    if (this.#rule.byteLevel && added === undefined && appendAlphabet(utf8, out)) return;
    const byte = this.#rule.byteFallback ? byteOfFallback(utf8) : -1;
    if (byte >= 0) out.push(byte);
    else out.append(this.#replace(utf8));
  }

  #replace(utf8: Uint8Array): Uint8Array {
    let bytes = Buffer.from(utf8.buffer, utf8.byteOffset, utf8.length);
    for (const { from, to } of this.#replacements)
      if (bytes.indexOf(from) >= 0) {
        const text = replaceString(bytes.toString(), from.toString(), to, MAX_TOKEN_BYTES);
        if (text === null) throw tooLong();
        bytes = Buffer.from(text);
      }
    return bytes;
  }

  /** Throws ERR_TOKENIZER where the replacements make a token, or all of them together, too long. Afterwards nothing else throws. */
  check(): void {
    // Most decoders make no token longer.
    if (this.#replacements.every(({ from, to }) => Buffer.byteLength(to) <= from.length)) return;
    const bytes = new ByteBuffer();
    let total = 0;
    for (let id = 0; id < this.#vocabulary.size; ++id) {
      for (const first of [true, false]) {
        bytes.truncate(0);
        this.appendNext(id, { first, stripLeft: 0 }, bytes);
        total += bytes.length;
      }
      if (total > 2 * MAX_VOCABULARY_BYTES) throw tooLong();
    }
  }

  /** A new text. */
  begin(): DecodingPosition {
    return { first: true, stripLeft: this.#rule.strip?.count ?? 0 };
  }

  /** Appends the bytes of a token at this place in the text, which moves on. */
  appendNext(id: number, position: DecodingPosition, out: ByteBuffer): void {
    const { dropFromFirst } = this.#rule;
    const start = out.length;
    if (!position.first) out.append(this.#separator);
    if (position.first && dropFromFirst !== null && id >= 0 && id < this.#vocabulary.size)
      out.append(this.#replace(Buffer.from(this.#vocabulary.tokenOf(id).replaceAll(dropFromFirst, ""))));
    else this.append(id, out);
    position.first = false;
    if (position.stripLeft > 0 && out.length > start) this.#strip(start, position, out);
  }

  #strip(start: number, position: DecodingPosition, out: ByteBuffer): void {
    const content = Buffer.from(this.#rule.strip!.content);
    const bytes = Buffer.from(out.view(start));
    let cut = 0;
    while (position.stripLeft > 0 && content.equals(bytes.subarray(cut, cut + content.length))) {
      cut += content.length;
      --position.stripLeft;
    }
    if (cut < bytes.length) position.stripLeft = 0; // the text has begun with something else
    out.truncate(start);
    out.append(bytes.subarray(cut));
  }
}

const tooLong = (): Error =>
  unsupported(
    `tokens of at most ${MAX_TOKEN_BYTES} characters, ${MAX_VOCABULARY_BYTES} bytes together`,
    NAME,
    "longer ones",
  );

/** Appends the bytes that a token in GPT-2's alphabet stands for; false when it has a character outside the alphabet. */
function appendAlphabet(utf8: Uint8Array, out: ByteBuffer): boolean {
  const start = out.length;
  for (let i = 0; i < utf8.length; ++i) {
    const lead = utf8[i]!;
    // The alphabet ends at U+0143: one or two bytes of UTF-8.
    const character = lead < 0x80 ? lead : lead < 0xe0 ? ((lead & 0x1f) << 6) | (utf8[++i]! & 0x3f) : -1;
    const byte = BYTE_OF_CHARACTER[character] ?? -1;
    if (byte < 0) {
      out.truncate(start);
      return false;
    }
    out.push(byte);
  }
  return true;
}

/** The byte of a token <0x00> .. <0xFF>, or -1. */
function byteOfFallback(utf8: Uint8Array): number {
  if (utf8.length !== 6 || utf8[0] !== 0x3c || utf8[1] !== 0x30 || utf8[2] !== 0x78 || utf8[5] !== 0x3e)
    return -1;
  const digits = String.fromCharCode(utf8[3]!, utf8[4]!);
  return /^[0-9A-Fa-f]{2}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}

/** What the bytes of the next token depend on. */
export interface DecodingPosition {
  first: boolean;
  /** How many leading characters may still be taken off. */
  stripLeft: number;
}
