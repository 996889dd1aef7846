/** Reads what test/golden/make_tokenizer.py wrote. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const read = (name: string): Buffer =>
  readFileSync(new URL(`../golden/data/tokenizer/${name}`, import.meta.url));

export interface GoldenRun {
  count: number;
  /** SHA-256 of the ids as int32, little endian. */
  whole: string;
  /** First 16 digits of the SHA-256 of each piece's ids. */
  pieces: string[];
}

export interface VocabularyGolden {
  parsed: GoldenRun;
  plain: GoldenRun;
  /** SHA-256 of the text that the ids of the whole decode to. */
  decoded: string;
}

export interface TinyTokenizer {
  json: Record<string, unknown>;
  /** Ids of each text: control tokens left as text; parsed; parsed, with the tokenizer's own tokens around. */
  plain: number[][];
  parsed: number[][];
  around: number[][];
  /** What `around` decodes to, control tokens left out. */
  decoded: string[];
}

export interface ChatGolden {
  templates: Record<string, string>;
  chats: Record<string, { role: string; content: string | null }[]>;
  tools: Record<string, unknown>[];
  cases: {
    template: string;
    chat: string;
    options: Record<string, unknown>;
    text?: string;
    error?: string;
  }[];
  dates: Record<string, string>;
}

export const readText = (): string => gunzipSync(read("multilingual.txt.gz")).toString("utf8");
export const readGolden = (): Record<"smollm2" | "gemma3", VocabularyGolden> & { text_sha256: string } =>
  JSON.parse(read("golden.json").toString("utf8"));
export const readTiny = (): { texts: string[]; tokenizers: Record<string, TinyTokenizer> } =>
  JSON.parse(gunzipSync(read("tiny.json.gz")).toString("utf8"));
export const readChat = (): ChatGolden => JSON.parse(read("chat.json").toString("utf8"));

export const digest = (data: Int32Array | string): string =>
  createHash("sha256")
    .update(typeof data === "string" ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");

/** Pieces of at least `size` UTF-16 units that end between code points, as the script cuts them. */
export function pieces(text: string, size = 16_384): string[] {
  const parts: string[] = [];
  for (let start = 0; start < text.length;) {
    let end = Math.min(text.length, start + size);
    if (end < text.length && (text.charCodeAt(end) & 0xfc00) === 0xdc00) ++end;
    parts.push(text.slice(start, end));
    start = end;
  }
  return parts;
}
