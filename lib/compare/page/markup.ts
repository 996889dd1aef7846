/** Text that is HTML or SVG already. Everything else becomes text when it is put into markup. */
export class Markup {
  constructor(readonly text: string) {}
}

type Value = string | number | Markup | null | readonly Value[];

/** Printable ASCII without what ENTITIES names. */
const PLAIN = /^[ !#-%(-;=?-~\n\t]*$/;
const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * What would not be seen as it is: controls become their pictures, and characters that would turn or hide the text around them (bidi
 * controls, zero widths, half surrogates) their code points. Line breaks and tabs stay.
 */
function visible(text: string): string {
  return text.replace(/[^\P{C}\n\t]/gu, (character) => {
    const code = character.codePointAt(0)!;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "\u2421" : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

function written(value: Value): string {
  if (value instanceof Markup) return value.text;
  if (value === null) return "";
  if (typeof value === "object") return value.map(written).join("");
  const text = String(value);
  // Most texts are plain: a page has many thousands.
  return PLAIN.test(text) ? text : visible(text).replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** A template of markup: what is put into it is escaped, in attributes, too (which are to be written in quotes). */
export function markup(parts: TemplateStringsArray, ...values: Value[]): Markup {
  return new Markup(parts.reduce((text, part, i) => text + written(values[i - 1] ?? null) + part));
}
