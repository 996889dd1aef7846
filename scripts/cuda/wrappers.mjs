// What the wrappers of cuda/ptx.h gave on a device, against what the emulator gave.

const LANES = 32;
const ULP = 2 ** -23;
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
const floatOf = (word) => {
  bits[0] = word;
  return float[0];
};

/** Whether two float32 are within `limit`, or both the same NaN or infinity. */
const near = (a, b, limit) => Object.is(a, b) || Math.abs(a - b) <= limit;

/** What differs in one wrapper's words, a sentence each; of many the first few. */
function differencesOf(golden, found) {
  const exact = golden.ulp_of_each === 0 && golden.ulp_of_largest === 0;
  const values = golden.words.map(floatOf);
  const largest = Math.max(...values.filter(Number.isFinite).map(Math.abs));
  const perLane = golden.words.length / LANES;
  return golden.words.flatMap((word, i) => {
    const other = found.words[i];
    if (word === other) return [];
    const limit = ULP * (golden.ulp_of_each * Math.abs(values[i]) + golden.ulp_of_largest * largest);
    if (!exact && near(values[i], floatOf(other), limit)) return [];
    const shown = exact ? [word, other] : [values[i], floatOf(other)];
    return [
      `lane ${Math.floor(i / perLane)}, word ${i % perLane}: expected ${shown[0]}, received ${shown[1]}`,
    ];
  });
}

/**
 * What differs in every wrapper of the golden file.
 * @returns {{ name: string, differences: string[] }[]}
 */
export function compareWrappers(golden, found) {
  return golden.wrappers.map((one) => {
    const same = found.wrappers.find(({ name }) => name === one.name);
    if (same === undefined) return { name: one.name, differences: ["it did not run"] };
    if (same.words.length !== one.words.length)
      return {
        name: one.name,
        differences: [`expected ${one.words.length} words, received ${same.words.length}`],
      };
    return { name: one.name, differences: differencesOf(one, same).slice(0, 5) };
  });
}
