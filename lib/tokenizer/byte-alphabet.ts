/**
 * GPT-2's byte alphabet: every byte is written as one printable character, so that byte sequences can stand in a JSON
 * vocabulary. The 188 printable bytes of Latin-1 stand for themselves, the other 68 for U+0100 upwards in order.
 * Source: `bytes_to_unicode` of the GPT-2 release.
 */
function buildAlphabet(): Uint16Array {
  const alphabet = new Uint16Array(256);
  let next = 0x100;
  for (let byte = 0; byte < 256; ++byte) {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

/** [256] byte -> UTF-16 code unit of its character. */
export const CHARACTER_OF_BYTE: Uint16Array = buildAlphabet();

/** [324] UTF-16 code unit -> byte, or -1 where the character is not of the alphabet. */
export const BYTE_OF_CHARACTER: Int16Array = (() => {
  const bytes = new Int16Array(0x144).fill(-1);
  for (let byte = 0; byte < 256; ++byte) bytes[CHARACTER_OF_BYTE[byte]!] = byte;
  return bytes;
})();

/** The token that stands for a byte where there is no token for a character: <0x00> .. <0xFF>. */
export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
