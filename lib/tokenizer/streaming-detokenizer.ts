import { TextDecoder } from "node:util";
import { ByteBuffer } from "./byte-buffer.js";
import type { DecodingPosition } from "./token-decoder.js";
import type { DecodeOptions } from "./text-options.js";
import type { Tokenizer } from "./tokenizer.js";

/**
 * Text of token ids as they come, one by one. What `push` returns is certain: a character whose bytes are spread over several tokens
 * comes with the last of them, and U+FFFD comes only once the bytes can no longer become a character.
 * All parts joined, with that of `flush`, are `tokenizer.decode` of all ids. The cost of a token does not grow with the text.
 */
export class StreamingDetokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecial: boolean;
  readonly #bytes = new ByteBuffer();
  #utf8 = newDecoder();
  #position: DecodingPosition;

  constructor(tokenizer: Tokenizer, options: DecodeOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = options.skipSpecialTokens ?? true;
    this.#position = tokenizer.decoder.begin();
  }

  /** Takes the next token and returns the text that is now certain, often "". */
  push(id: number): string {
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) return "";
    this.#bytes.truncate(0);
    this.#tokenizer.decoder.appendNext(id, this.#position, this.#bytes);
    return this.#bytes.length === 0 ? "" : this.#utf8.decode(this.#bytes.view(), { stream: true });
  }

  /** Ends the text: what is left of an unfinished character becomes U+FFFD. A new text may follow. */
  flush(): string {
    const rest = this.#utf8.decode();
    this.#utf8 = newDecoder();
    this.#position = this.#tokenizer.decoder.begin();
    return rest;
  }
}

/** A byte order mark is text like any other. */
const newDecoder = (): TextDecoder => new TextDecoder("utf-8", { ignoreBOM: true });
