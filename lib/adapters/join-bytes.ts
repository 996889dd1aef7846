import { setImmediate as nextTurn } from "node:timers/promises";
import { expected } from "../errors/index.js";

/** Bytes that are copied in one turn of the event loop: about 10 ms, most of it for the pages of fresh memory. */
const BLOCK = 8 * 2 ** 20;
/** Up to here the copy is whole when the call returns. */
export const COPIED_AT_ONCE = 16 * 2 ** 20;

/** A copy of all parts, one behind the other. Throws ERR_INVALID_ARGUMENT where one is resized or detached meanwhile. */
export async function joinBytes(parts: readonly Uint8Array[]): Promise<Uint8Array> {
  const sizes = parts.map(({ length }) => length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const bytes = Buffer.allocUnsafeSlow(total);
  const inBlocks = total > COPIED_AT_ONCE;
  let at = 0;
  let copied = 0;
  for (const [i, part] of parts.entries())
    for (let begin = 0; begin < sizes[i]!; begin += BLOCK) {
      if (part.length !== sizes[i])
        throw expected("bytes that stay as they are until the load has ended", "the adapter's source", part);
      const block = part.subarray(begin, begin + BLOCK);
      if (inBlocks && copied > 0 && copied + block.length > BLOCK) {
        await nextTurn();
        copied = 0;
        begin -= BLOCK; // looked at anew: it may have changed meanwhile
        continue;
      }
      bytes.set(block, at);
      at += block.length;
      copied += block.length;
    }
  return bytes;
}
