/** Reads what test/golden/make_templates.py wrote, and the templates that it read. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { addon } from "#lib/native/addon.js";
import { modelCacheDirectory } from "#lib/model/sources/environment.js";
import { resolveModel } from "#lib/model/sources/index.js";
import { pipDownload } from "#lib/model/sources/pip-download.js";
import type { ChatMessage } from "#lib/tokenizer/index.js";

const file = (name: string): Buffer =>
  readFileSync(new URL(`../golden/data/templates/${name}`, import.meta.url));
const json = <T>(name: string): T => JSON.parse(file(name).toString("utf8"));

export interface Conversation {
  messages: ChatMessage[];
  tools?: Record<string, unknown>[];
  documents?: Record<string, unknown>[];
  variables?: Record<string, unknown>;
  add_generation_prompt?: boolean;
}

export const readConversations = () =>
  json<{
    roles: Record<string, string>;
    named: Record<string, string>;
    conversations: Record<string, Conversation>;
  }>("conversations.json");

/** By template and chat: length in UTF-16 units and SHA-256 of the text, or null where transformers raises an error. */
export const readFamilies = () => json<Record<string, Record<string, string | null>>>("families.json");

export const readSnippets = () =>
  json<{ variables: Record<string, unknown>; snippets: [source: string, text: string | null][] }>(
    "snippets.json",
  );

export const readValues = (): [source: string, variables: Record<string, unknown>, text: string | null][] =>
  JSON.parse(gunzipSync(file("values.json.gz")).toString("utf8"));

export const digest = (text: string): string =>
  `${text.length} ${createHash("sha256").update(text).digest("hex")}`;

/** A wheel on PyPI (Apache-2.0) that holds the chat templates of 36 model families. */
const WHEEL = {
  requirement: "axolotl==0.19.0",
  file: "axolotl-0.19.0-py3-none-any.whl",
  sha256: "f28eb3ad3709975eec4adfe13307dd980c7e7917cc43cb03f2c6f26c007135cc",
  folder: "axolotl/utils/chat_templates/templates/",
};

/** The wheel's path in the model cache; pip fetches it once. Nothing of it is installed or run. */
async function wheelPath(): Promise<string> {
  const folder = join(modelCacheDirectory(), "chat-templates");
  const path = join(folder, WHEEL.file);
  const isWhole = (bytes: Buffer): boolean =>
    createHash("sha256").update(bytes).digest("hex") === WHEEL.sha256;
  const present = await readFile(path).catch(() => null);
  if (present !== null && isWhole(present)) return path;
  await mkdir(folder, { recursive: true });
  const directory = await mkdtemp(join(folder, ".incoming-"));
  try {
    await pipDownload({ requirement: WHEEL.requirement, directory, signal: undefined, onBytes: () => {} });
    const fetched = join(directory, WHEEL.file);
    if (!isWhole(await readFile(fetched)))
      throw new Error(`${WHEEL.file} is another file than the pinned one.`);
    await rename(fetched, path);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return path;
}

/** Every template of families.json by its name. */
export async function readTemplates(): Promise<Map<string, string>> {
  const templates = new Map<string, string>();
  for (const [name, source] of Object.entries(readConversations().named))
    templates.set(`named/${name}`, source);
  const yauzl = await import("yauzl");
  const archive = await yauzl.openPromise(await wheelPath(), { autoClose: false });
  for await (const entry of archive.eachEntry()) {
    const name = entry.fileName;
    if (!name.startsWith(WHEEL.folder) || !name.endsWith(".jinja")) continue;
    const blocks: Buffer[] = [];
    for await (const block of await archive.openReadStreamPromise(entry)) blocks.push(block as Buffer);
    templates.set(name.slice(WHEEL.folder.length, -".jinja".length), Buffer.concat(blocks).toString("utf8"));
  }
  archive.close();
  const smollm2 = await resolveModel("smollm2-135m-instruct");
  const metadata = await addon().readGgufMetadata(smollm2.path);
  return templates.set("smollm2", metadata["tokenizer.chat_template"] as string);
}
