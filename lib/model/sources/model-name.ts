import { isAbsolute } from "node:path";
import { expected, LowrankError } from "../../errors/index.js";
import { MODEL_ALIASES, type ModelAlias } from "./aliases.js";
import { isSafeRelativePath } from "./model-files.js";

/** What a model name means, before anything was looked up. */
export type ModelName =
  | { kind: "alias"; alias: ModelAlias }
  | { kind: "hub"; repo: string; revision: string | undefined; file: string | undefined }
  | { kind: "path"; path: string };

const HUB_FORM = "hf:owner/name, hf:owner/name@revision or hf:owner/name/file.gguf";
const MAX_NAME_LENGTH = 4096;

/** The forms that a name may have, for messages. */
export function knownForms(): string {
  const aliases = MODEL_ALIASES.map(({ name }) => name).join(", ");
  return `an alias (${aliases}), a folder or .gguf file written with a path (./name), or ${HUB_FORM}`;
}

/**
 * Reads a model name. A word alone is an alias and nothing else: a path needs a separator, a leading dot or the ending
 * `.gguf`, so that a typing error never turns into a search of the disk. Throws ERR_INVALID_ARGUMENT on a name that no
 * source can have and ERR_MODEL_NOT_FOUND on an unknown word.
 */
export function parseModelName(name: unknown): ModelName {
  if (
    typeof name !== "string" ||
    name.trim() === "" ||
    name.includes("\0") ||
    name.length > MAX_NAME_LENGTH
  ) {
    throw expected("a model name", "name", name, `Write ${knownForms()}.`);
  }
  if (name.startsWith("hf:")) return parseHubName(name);
  if (/^[a-z]+:\/\//i.test(name)) {
    throw expected(
      "a model name, not a URL,",
      "name",
      name,
      `Write ${HUB_FORM}, or download the file and pass its path.`,
    );
  }
  const alias = MODEL_ALIASES.find((known) => known.name === name);
  if (alias) return { kind: "alias", alias };
  if (/[/\\]/.test(name) || /^[.~]/.test(name) || /\.gguf$/i.test(name) || isAbsolute(name)) {
    return { kind: "path", path: name };
  }
  throw new LowrankError(
    "ERR_MODEL_NOT_FOUND",
    `Expected a known model for name, received ${JSON.stringify(name)}. ` +
      `Tried: aliases (none is called so); folders and the hub were not searched for a word alone. Write ${knownForms()}.`,
    { details: { name, tried: ["alias"], aliases: MODEL_ALIASES.map((known) => known.name) } },
  );
}

const HUB_PART = "[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?";
const HUB_NAME = new RegExp(`^hf:(${HUB_PART}/${HUB_PART})(?:@([^/]+))?(?:/(.+))?$`);

function parseHubName(name: string): ModelName {
  const [, repo, revision, file] = HUB_NAME.exec(name) ?? [];
  if (repo === undefined || /--|\.\./.test(repo)) throw expected(HUB_FORM, "name", name);
  if (revision !== undefined) checkRevision(revision, "name");
  if (file !== undefined && !(isSafeRelativePath(file) && /\.gguf$/i.test(file))) {
    throw expected("a path to a .gguf file in the repository", "name", name, `Write ${HUB_FORM}.`);
  }
  return { kind: "hub", repo, revision, file };
}

/** Throws ERR_INVALID_ARGUMENT unless `revision` can be a branch, a tag or a commit (and so a path below `refs/`). */
export function checkRevision(revision: string, argument: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._/+-]{0,254}$/.test(revision) || !isSafeRelativePath(revision)) {
    throw expected(
      "a branch, a tag or a commit",
      argument,
      revision,
      "Look it up in the repository's list of files.",
    );
  }
}
