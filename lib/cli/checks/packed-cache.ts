import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { packedDirectory } from "../../model/index.js";
import { byteText } from "../terminal.js";
import type { Finding } from "./index.js";

const NAME = /^[0-9a-f]{64}\.(?:weights|tokenizer)$/;

/** Whether the files of weights as they are computed with can be read. A damaged one is replaced at the next load. */
export async function packedCache(): Promise<Finding> {
  const folder = packedDirectory();
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  let bytes = 0;
  for (const name of names.filter((one) => NAME.test(one))) {
    const path = join(folder, name);
    const facts = await stat(path);
    bytes += facts.size;
    const readable = await open(path).then(
      async (file) => {
        await file.close();
        return facts.isFile() && facts.size > 0;
      },
      () => false,
    );
    if (!readable)
      return {
        state: "failure",
        says: `${path} cannot be read, or is empty`,
        remedy: "Delete it: it is made again at the next load.",
      };
  }
  return { state: "ok", says: `${byteText(bytes)} in ${folder}` };
}
