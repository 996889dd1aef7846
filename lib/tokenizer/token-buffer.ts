/** A growing list of token ids. */
export class TokenBuffer {
  #ids: Int32Array;
  #length = 0;

  constructor(capacity = 64) {
    this.#ids = new Int32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(this.#length + 1);
    this.#ids[this.#length++] = id;
  }

  /** Appends ids[0 .. count). */
  append(ids: ArrayLike<number>, count = ids.length): void {
    if (this.#length + count > this.#ids.length) this.#grow(this.#length + count);
    for (let i = 0; i < count; ++i) this.#ids[this.#length++] = ids[i]!;
  }

  #grow(needed: number): void {
    const larger = new Int32Array(Math.max(needed, this.#ids.length * 2));
    larger.set(this.#ids);
    this.#ids = larger;
  }

  /** The ids so far, in an array of their own. */
  toArray(): Int32Array {
    return this.#ids.slice(0, this.#length);
  }
}
