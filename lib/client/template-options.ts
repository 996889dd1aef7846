import { expected } from "../errors/index.js";
import { boolean, namesOf, number, option, text, type OptionsOf } from "../schema/index.js";
import type { ApplyChatTemplateOptions } from "../tokenizer/index.js";
import { TIMEOUT } from "../tokenizer/text-options.js";
import { MAX_TEMPLATE_LENGTH } from "../tokenizer/tokenizer-definition.js";

/** Milliseconds from 1970 that a date may have. */
const MAX_TIME = 8.64e15;

const list = (description: string) =>
  option<readonly unknown[]>({
    description,
    json: { type: "array" },
    check: (value, name) => {
      if (!Array.isArray(value)) throw expected("an array of JSON values", name, value);
      return value as unknown[];
    },
  });

/** What a request may say of the chat template. */
export const TEMPLATE = {
  /** End with the beginning of an answer, so that the model writes one. Default true. */
  addGenerationPrompt: boolean({
    description: "End with the beginning of an answer, so that the model writes one.",
    default: true,
  }),
  /** Tools as JSON schemas, in the form that the model's template knows. */
  tools: list("Tools as JSON schemas, in the form that the model's template knows."),
  /** Documents, in the form that the model's template knows. */
  documents: list("Documents, in the form that the model's template knows."),
  /** Further variables of the template, such as `enable_thinking`: JSON values. */
  variables: option<Readonly<Record<string, unknown>>>({
    description: "Further variables of the template.",
    json: { type: "object" },
    check: (value, name) => {
      if (typeof value !== "object" || value === null || Array.isArray(value))
        throw expected("an object of JSON values", name, value);
      return value as Record<string, unknown>;
    },
  }),
  /** What `strftime_now` tells, in milliseconds since 1970. Default: now. */
  now: number({
    description: "What strftime_now tells.",
    unit: "milliseconds since 1970",
    min: -MAX_TIME,
    max: MAX_TIME,
    default: { says: "now", value: undefined },
  }),
  /** A Jinja template of at most 262,144 characters. Default: the model's own. */
  chatTemplate: text({
    description: "A Jinja template in place of the model's own.",
    maxLength: MAX_TEMPLATE_LENGTH,
    default: { says: "the model's own", value: undefined },
  }),
  /** Let control tokens be written in messages: for trusted messages only. Default false. */
  parseSpecialTokens: boolean({
    description: "Let control tokens be written in messages; for trusted ones only.",
    default: false,
  }),
  /** Milliseconds of run time, after which the request fails with ERR_TIMEOUT. 1 … 600000, default 5000. */
  timeout: TIMEOUT,
} satisfies { [Name in keyof ApplyChatTemplateOptions]?: unknown };

export interface TemplateOptions extends OptionsOf<typeof TEMPLATE> {}

export const TEMPLATE_KEYS = namesOf(TEMPLATE);
