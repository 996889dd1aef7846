import type { MergeTables } from "./merge-table.js";
import type { Vocabulary } from "./vocabulary.js";

/** Above this many code points before the mark, cutting words would save nothing. */
const MAX_JOINED = 64;

/**
 * A SentencePiece vocabulary without pre-tokenizer makes one word of a whole text. A cut before U+2581 (the mark for a blank) is
 * harmless where no merge joins the character before it to the mark; this returns the code points for which one does.
 * Null where words may not be cut: too many such characters, or the mark is no token.
 */
export function joinedBeforeSpace(vocabulary: Vocabulary, merges: MergeTables): number[] | null {
  if (vocabulary.idOf("\u2581") < 0) return null;
  const joined = new Set<number>();
  for (const id of new Set(merges.result)) {
    const utf8 = vocabulary.utf8Of(id);
    for (let at = 1; at + 2 < utf8.length; ++at) {
      if (utf8[at] !== 0xe2 || utf8[at + 1] !== 0x96 || utf8[at + 2] !== 0x81) continue;
      let start = at - 1;
      while (start > 0 && (utf8[start]! & 0xc0) === 0x80) --start;
      joined.add(Buffer.from(utf8.subarray(start, at)).toString().codePointAt(0)!);
      if (joined.size > MAX_JOINED) return null;
    }
  }
  return [...joined];
}
