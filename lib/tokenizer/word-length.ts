import { expected } from "../errors/index.js";

/** Longest word that a model is given, in UTF-16 units: up to 3 symbols each, of 20 bytes of memory. */
const MAX_WORD_LENGTH = 1 << 22;

/** Throws ERR_INVALID_ARGUMENT for a run of text that the tokenizer cannot cut into words and that is too long for one. */
export function checkWordLength(word: string): void {
  if (word.length > MAX_WORD_LENGTH)
    throw expected(
      `words of at most ${MAX_WORD_LENGTH} UTF-16 units`,
      "text",
      word.length,
      "Split the text: its tokenizer takes this part for one word.",
    );
}
