import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

export const DATA = fileURLToPath(new URL("../../golden/data/", import.meta.url));

const tiny = JSON.parse(gunzipSync(readFileSync(`${DATA}tokenizer/tiny.json.gz`)).toString("utf8"));

export const TINY_NAMES = Object.keys(tiny.tokenizers);
/** The tokenizer.json of a small tokenizer, as JSON. */
export const readTiny = (name) => tiny.tokenizers[name].json;
