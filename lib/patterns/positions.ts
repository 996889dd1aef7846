import type { CharSet } from "./char-set.js";
import { ASSERTIONS } from "./program.js";

const LINE_FEED = 10;

/** The place one code point before `at`. */
export function stepBack(text: string, at: number): number {
  const pair =
    at > 1 && (text.charCodeAt(at - 1) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 2) & 0xfc00) === 0xd800;
  return pair ? at - 2 : at - 1;
}

/** UTF-16 units of the character at `at`. */
export function width(text: string, at: number): number {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && text.codePointAt(at)! > 0xffff ? 2 : 1;
}

export const isWord = (words: CharSet, text: string, at: number): boolean =>
  at < text.length && words.has(text.codePointAt(at)!);

/** @param from where the search began */
export function holds(assertion: number, text: string, at: number, from: number): boolean {
  const { length } = text;
  const follows = at > 0 && text.charCodeAt(at - 1) === LINE_FEED;
  switch (ASSERTIONS[assertion]!) {
    case "text-start":
      return at === 0;
    case "text-end":
      return at === length;
    case "last-line-end":
      return at === length || (at === length - 1 && text.charCodeAt(at) === LINE_FEED);
    case "line-start":
      return at === 0 || follows;
    case "line-end":
      return at === length || text.charCodeAt(at) === LINE_FEED;
    case "onig-line-start":
      return at === 0 || (follows && at < length);
    case "search-start":
      return at === from;
  }
}
