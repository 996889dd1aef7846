const MASK = (1n << 64n) - 1n;

/** SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): what the authors of xoshiro seed it by. */
function* splitMix64(seed: bigint): Generator<bigint, never> {
  for (let state = seed & MASK; ;) {
    state = (state + 0x9e3779b97f4a7c15n) & MASK;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    yield z ^ (z >> 31n);
  }
}

/** xoshiro128** 1.1 (Blackman and Vigna, ACM TOMS 47(4), 2021): 32 random bits a call, the same for the same seed. */
export class Random {
  readonly #state: Uint32Array;

  /** A seed, or the four words of a state. */
  constructor(seed: number | Uint32Array) {
    if (typeof seed !== "number") {
      this.#state = seed.slice();
      return;
    }
    const words = splitMix64(BigInt(seed));
    const [low, high] = [words.next().value, words.next().value];
    this.#state = Uint32Array.from(
      [low, low >> 32n, high, high >> 32n].map((word) => Number(word & 0xffffffffn)),
    );
  }

  /** An integer from 0 to 2^32 - 1. */
  bits(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  /** An integer from 0 to count - 1, by multiplication: none is likelier than another by more than count / 2^32. */
  below(count: number): number {
    return Math.floor((this.bits() * count) / 2 ** 32);
  }
}
