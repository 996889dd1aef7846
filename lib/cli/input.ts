import { open } from "node:fs/promises";
import { expected } from "../errors/index.js";

/** Longer texts are no prompt. */
const MAX_INPUT_BYTES = 64 * 2 ** 20;

/** A file's text. Throws ERR_INVALID_ARGUMENT for more than 64 MiB; errors of the file system pass. */
export async function readTextFile(path: string): Promise<string> {
  const file = await open(path);
  try {
    return await readAll(file.createReadStream({ autoClose: false }), path);
  } finally {
    await file.close();
  }
}

async function readAll(stream: AsyncIterable<Buffer>, name: string): Promise<string> {
  const blocks: Buffer[] = [];
  let bytes = 0;
  for await (const block of stream) {
    bytes += block.length;
    if (bytes > MAX_INPUT_BYTES) throw expected(`at most ${MAX_INPUT_BYTES} bytes`, name, `${bytes} or more`);
    blocks.push(block);
  }
  return Buffer.concat(blocks).toString("utf8");
}

/** The argument itself; "-" stands for standard input, and so does none where that is not a terminal. */
export async function textArgument(given: string | undefined, name: string): Promise<string> {
  if (given !== undefined && given !== "-") return given;
  if (given === undefined && process.stdin.isTTY)
    throw expected("a text", name, undefined, "Write it in quotes, or pipe it in.");
  return readAll(process.stdin, "standard input");
}
