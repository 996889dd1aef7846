import { TEMPLATE, type TemplateOptions } from "../client/index.js";
import { boolean, checkOptions, options, type OptionsOf } from "../schema/index.js";
import { ANSWERING, withRequestParts, type AnswerOptions } from "./options.js";

const CHATTING = {
  /**
   * For the chat template: `tools`, `documents`, `variables`, or another template in place of the model's own (`chatTemplate`). Default:
   * none of them.
   */
  template: options<typeof TEMPLATE, TemplateOptions>(TEMPLATE, { description: "For the chat template." }),
  /** Let control tokens be written in the messages: for trusted ones only. Default: `template.parseSpecialTokens`, or false. */
  parseSpecialTokens: boolean({
    description: "Let control tokens be written in the messages; for trusted ones only.",
    default: { says: "`template.parseSpecialTokens`, or false", value: undefined },
  }),
};

/** No `addSpecialTokens`: the template has them. */
export const CHAT: typeof ANSWERING & typeof CHATTING = { ...ANSWERING, ...CHATTING };

export interface ChatOptions extends AnswerOptions, OptionsOf<typeof CHATTING> {}

export function checkChatOptions(options: ChatOptions, vocabularySize: number) {
  const { template, parseSpecialTokens, ...answer } = checkOptions(CHAT, options, { vocabularySize });
  return {
    ...withRequestParts(answer),
    template: { ...template, parseSpecialTokens: parseSpecialTokens ?? template.parseSpecialTokens },
  };
}
