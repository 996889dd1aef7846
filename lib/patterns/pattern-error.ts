/** What is wrong with a pattern; the caller turns it into a coded error. */
export class PatternError extends Error {
  /**
   * @param kind malformed: not an expression of the dialect; unsupported: valid, but cannot be run here in bounded time; budget: the text
   * takes more steps than allowed
   * @param what names the fault, as in "received … with a back-reference at character 3"
   */
  constructor(
    readonly kind: "malformed" | "unsupported" | "budget",
    readonly what: string,
    /** UTF-16 offset in the pattern, -1 for the pattern as a whole. */
    readonly position = -1,
  ) {
    super(position < 0 ? what : `${what} at character ${position + 1}`);
    this.name = "PatternError";
  }

  /** The same fault of a pattern that is part of another. */
  moved(by: number): PatternError {
    return new PatternError(this.kind, this.what, this.position < 0 ? -1 : Math.max(0, this.position + by));
  }
}
