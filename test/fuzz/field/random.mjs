/** Numbers, choices and hostile strings from a seed: the same seed gives the same inputs. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) >>> 0;
    for (let i = 0; i < 8; i++) this.next();
  }

  /** xorshift32, below 1. */
  next() {
    let x = this.#state || 1;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state / 2 ** 32;
  }

  below(count) {
    return Math.floor(this.next() * count);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** Mostly small, sometimes huge, sometimes no count at all. */
  number() {
    return this.pick([
      0,
      1,
      2,
      3,
      this.below(100),
      -1,
      0.5,
      1e3,
      1e6,
      1e9,
      2 ** 31,
      2 ** 53,
      1e308,
      NaN,
      -Infinity,
    ]);
  }

  /** A string that programs stumble over; `long` characters at most. */
  text(long = 2_000) {
    const kind = this.below(8);
    const count = this.chance(0.1) ? this.below(long) : this.below(40);
    if (kind === 0) return this.pick(PIECES).repeat(count);
    return Array.from({ length: this.below(12) }, () => this.pick(PIECES)).join(this.chance(0.3) ? " " : "");
  }

  /** JSON of any shape. */
  json(depth = 3) {
    if (depth === 0 || this.chance(0.5))
      return this.pick([null, true, false, this.below(10), this.number(), this.text(), "", [], {}]);
    const children = Array.from({ length: this.below(5) }, () => this.json(depth - 1));
    if (this.chance(0.5)) return children;
    return Object.fromEntries(children.map((child) => [this.pick(KEYS), child]));
  }

  /** A copy of a JSON value with one place changed, dropped or blown up. */
  mutate(value) {
    const copy = structuredClone(value);
    const places = [];
    const visit = (parent) => {
      if (typeof parent !== "object" || parent === null) return;
      for (const key of Object.keys(parent)) {
        places.push([parent, key]);
        if (places.length < 5_000) visit(parent[key]);
      }
    };
    visit(copy);
    for (let i = 1 + this.below(3); i > 0 && places.length > 0; i--) {
      const [parent, key] = this.pick(places);
      const kind = this.below(6);
      if (kind === 0) delete parent[key];
      else if (kind === 1) parent[key] = this.json();
      else if (kind === 2) parent[key] = this.number();
      else if (kind === 3) parent[key] = this.text();
      else if (kind === 4 && Array.isArray(parent[key]))
        parent[key] = Array.from({ length: this.below(2_000) }, () => parent[key][0]);
      else if (!Array.isArray(parent)) parent[this.pick(KEYS)] = parent[key];
    }
    return copy;
  }
}

const KEYS = [
  "type",
  "content",
  "role",
  "__proto__",
  "constructor",
  "toString",
  "name",
  "a",
  "",
  "id",
  "length",
  "0",
];

const PIECES = [
  "a",
  "<",
  ">",
  "|",
  "<|im_start|>",
  "<|im_end|>",
  "im_start|>",
  "</s>",
  "{{",
  "}}",
  "{%",
  "%}",
  "{#",
  "\n",
  " ",
  "  ",
  "\t",
  "\u0085",
  "\ufeff",
  "\u200d",
  "日本語",
  "🦜",
  "👩‍👩‍👧",
  "e\u0301",
  "\ud800",
  "\udc00",
  "\0",
  "<0x0A>",
  "▁",
  "Ġ",
  "'",
  '"',
  "\\",
  "%s",
  "$&",
  "(a+)+$",
  "İ",
  "ß",
  "ﬁ",
  "Ω",
  "①",
  "0",
  "9999999999999999999999",
  "-1",
  "true",
  "None",
];
