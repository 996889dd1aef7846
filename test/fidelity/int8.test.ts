import { join } from "node:path";
import { expect, test } from "vitest";
import { loadModel } from "#lib/index.js";
import { addressWindows } from "../../bench/address-windows.mjs";
import { compareLogits, Comparison } from "../../bench/compare-logits.mjs";

test("measure", { timeout: 600000 }, async () => {
  const t0 = performance.now();
  const lap = (s: string) => console.info(s, ((performance.now() - t0) / 1000).toFixed(1));
  const load = (o: object) => loadModel("smollm2-135m-instruct", { contextLength: 256, packedDirectory: false, ...o });
  const ref = await load({ precision: "float32" });
  lap("ref loaded");
  const int8 = await load({ precision: "int8" });
  lap("int8 loaded");
  const kv = await load({ precision: "int8", kvCache: "int8" });
  lap("kv loaded");
  const folder = join(import.meta.dirname, "../../examples/adapters/order-json");
  for (const m of [ref, int8, kv]) await m.adapters.load("a", folder);
  for (const [count, length] of [[2, 256], [4, 128], [8,64]] as const) {
    const w = await addressWindows(ref, count, length);
    for (const adapter of [undefined, "a"]) {
      const [c, k] = [new Comparison(), new Comparison()];
      for (const ids of w) {
        const e = await ref.logits(ids, { adapter });
        compareLogits(e, await int8.logits(ids, { adapter }), ids, c);
        compareLogits(e, await kv.logits(ids, { adapter }), ids, k);
      }
      console.info(count, length, adapter, "int8", JSON.stringify(c.summary()), "kv", JSON.stringify(k.summary()));
      lap("done");
    }
  }
  expect(1).toBe(1);
});
