/** True where the UTF-16 unit at `at` is White_Space; all of White_Space lies in the basic plane. */
export function isWhiteSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x85 || (code !== 0xfeff && text[at]!.trim() === "");
}
