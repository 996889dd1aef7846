import type { Cursor, Flags } from "./cursor.js";

export type OpenedGroup =
  | { readonly kind: "group"; readonly flags: Flags; readonly name?: string }
  | { readonly kind: "atomic"; readonly flags: Flags; readonly name?: undefined }
  | {
      readonly kind: "look";
      readonly flags: Flags;
      readonly behind: boolean;
      readonly negative: boolean;
      readonly name?: undefined;
    }
  /** Flags for the rest of the group around it. */
  | { readonly kind: "rest"; readonly flags: Flags };

/**
 * Reads what stands behind an opening parenthesis, up to the group's body.
 * @param leading nothing but flags stands before it
 */
export function openGroup(cursor: Cursor, flags: Flags, leading = false): OpenedGroup {
  const at = cursor.at - 1;
  const python = cursor.dialect === "python";
  if (!python && cursor.peek() === "*") throw cursor.unsupported("a callout ((*…))", at);
  if (!cursor.eat("?")) return { kind: "group", flags };
  if (cursor.eat(":")) return { kind: "group", flags };
  if (cursor.eat(">")) return { kind: "atomic", flags };
  for (const behind of [false, true])
    for (const negative of [false, true])
      if (cursor.eat((behind ? "<" : "") + (negative ? "!" : "=")))
        return { kind: "look", flags, behind, negative };
  if (cursor.peek() === "(") throw cursor.unsupported("a conditional", at);
  if (python) {
    if (cursor.eat("P=")) throw cursor.unsupported("a back-reference", at);
    if (cursor.eat("P<")) return { kind: "group", flags, name: groupName(cursor, ">") };
    if (cursor.eat("P>")) throw cursor.malformed("an extension that Python does not have", at);
    return withFlags(cursor, flags, at, leading);
  }
  if (cursor.eat("<")) return { kind: "group", flags, name: groupName(cursor, ">") };
  if (cursor.eat("'")) return { kind: "group", flags, name: groupName(cursor, "'") };
  if (cursor.peek() === "~") throw cursor.unsupported("an absent operator ((?~…))", at);
  if (cursor.peek() === "{") throw cursor.unsupported("a callout ((?{…}))", at);
  return withFlags(cursor, flags, at, leading);
}

function groupName(cursor: Cursor, end: string): string {
  const at = cursor.at;
  const name = cursor.until(end, "a group's name");
  if (!/^[\p{L}\p{Nl}_][\p{L}\p{M}\p{N}_]*$/u.test(name))
    throw cursor.malformed("a group's name that is none", at);
  return name;
}

/** Letters of the flags; those that change what classes mean in Oniguruma are not supported. */
const PYTHON_FLAGS = "aimsux";
const ONIGURUMA_FLAGS = "imx";
const ONIGURUMA_OTHERS = "WDSPyLC";

function withFlags(cursor: Cursor, flags: Flags, at: number, leading: boolean): OpenedGroup {
  const python = cursor.dialect === "python";
  let next = flags;
  let value = true;
  let count = 0;
  for (;;) {
    if (!python && cursor.eat(")")) return { kind: "rest", flags: next };
    if (cursor.eat(":")) {
      if (count === 0) throw cursor.malformed("flags without a letter", at);
      return { kind: "group", flags: next };
    }
    if (python && cursor.eat(")")) {
      if (!value || count === 0 || !leading)
        throw cursor.malformed("flags that do not stand at the start", at);
      return { kind: "rest", flags: next };
    }
    const letter = cursor.peek();
    if (letter === "-" && value) {
      value = false;
      cursor.at++;
      if (python && cursor.peek() === ":") throw cursor.malformed("flags without a letter", at);
      continue;
    }
    if (!python && letter !== "" && ONIGURUMA_OTHERS.includes(letter))
      throw cursor.unsupported(`the flag ${letter}`, at);
    if (
      letter === "" ||
      !(python ? PYTHON_FLAGS : ONIGURUMA_FLAGS).includes(letter) ||
      (!value && "au".includes(letter))
    )
      throw cursor.malformed(`(?${letter}, which the dialect does not have,`, at);
    cursor.at++;
    ++count;
    next = withFlag(next, letter, value, python);
  }
}

function withFlag(flags: Flags, letter: string, value: boolean, python: boolean): Flags {
  switch (letter) {
    case "i":
      return { ...flags, ignoreCase: value };
    case "m":
      return python ? { ...flags, multiline: value } : { ...flags, dotAll: value };
    case "s":
      return { ...flags, dotAll: value };
    case "x":
      return { ...flags, verbose: value };
    case "a":
      return { ...flags, ascii: true };
    default:
      return { ...flags, ascii: false };
  }
}
