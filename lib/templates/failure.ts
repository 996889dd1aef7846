/** What goes wrong in a template or is refused; `ChatTemplate` turns it into ERR_CHAT_TEMPLATE. */
export class TemplateFailure extends Error {
  /** @param budget the limit that was exceeded, if one was */
  constructor(
    message: string,
    readonly budget?: string,
  ) {
    super(message);
  }
}

export const fail = (message: string): TemplateFailure => new TemplateFailure(message);

/** What Python does and this evaluator does not: refused by name, never rendered otherwise. */
export const refuse = (what: string): TemplateFailure => new TemplateFailure(`${what} is not supported here`);
