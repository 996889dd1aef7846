import { boolean, number, type OptionsOf } from "../schema/index.js";

/** How texts become tokens. */
export const ENCODING = {
  /**
   * Put the tokenizer's own special tokens around a text, such as <bos> before it. Default true; a chat has them in its template, and
   * token ids are taken as they are.
   */
  addSpecialTokens: boolean({
    description: "Put the tokenizer's own special tokens around a text.",
    default: true,
  }),
  /**
   * Let control tokens be written in a text: "<|im_end|>" becomes that token and ends a turn. Default false, so that a text from
   * outside stays text. Hugging Face's libraries have true here.
   */
  parseSpecialTokens: boolean({
    description: "Let control tokens be written in a text; for trusted texts only.",
    default: false,
  }),
};

export interface EncodeOptions extends OptionsOf<typeof ENCODING> {}

/** How tokens become text. */
export const DECODING = {
  /** Leave special tokens out of the text. Default true. */
  skipSpecialTokens: boolean({ description: "Leave special tokens out of the text.", default: true }),
  /** Leave out the first bytes of a character that the last ids do not complete. Default false: they become U+FFFD. */
  skipIncomplete: boolean({
    description: "Leave out a character at the end that is not complete.",
    default: false,
  }),
};

export interface DecodeOptions extends OptionsOf<typeof DECODING> {}

/** Run time of a job. */
export const TIMEOUT = number({
  description: "Run time, after which the job fails.",
  unit: "milliseconds",
  min: 1,
  max: 600_000,
  default: 5_000,
});
