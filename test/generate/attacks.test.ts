/** What a stranger may send: it ends as a coded error, soon, off the event loop, and without holding up the others. */
import { spawnSync } from "node:child_process";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadModel, type Model } from "#lib/index.js";
import { failureOf } from "./tiny-models.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { threads: 1 });
  await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 1 }).result();
});
afterAll(() => model?.dispose());

const user = (content: string) => [{ role: "user", content }];
const ENDLESS = "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}";

/** The error's code, how long it took and how long the event loop did nothing else, in milliseconds. */
async function outcome(work: () => Promise<unknown>) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const began = performance.now();
  const { code } = await failureOf(work);
  const took = performance.now() - began;
  await new Promise((resolve) => setTimeout(resolve, 2));
  delay.disable();
  return { code, took, blocked: delay.max / 1e6 };
}

test.each([
  ["16 million characters in a message", () => model.chat(user("<".repeat(16_000_000)))],
  ["8 million Chinese characters", () => model.generate("語".repeat(8_000_000))],
  ["250,000 messages", () => model.chat(Array.from({ length: 250_000 }, () => user("x")[0]!))],
])("%s are refused before any work", async (_, ask) => {
  const { code, took, blocked } = await outcome(() => ask().result());
  expect(code).toBe("ERR_CONTEXT_LENGTH");
  expect(took).toBeLessThan(500);
  // Making the text itself takes its time here.
  expect(blocked).toBeLessThan(150);
});

test.each(["<", "a", "語", "<|im_start|>"])("as much of %j as may be tokenised", async (piece) => {
  const { code, blocked } = await outcome(() =>
    model.chat(user(piece.repeat(1_200_000 / piece.length))).result(),
  );
  expect(code).toBe("ERR_CONTEXT_LENGTH");
  expect(blocked).toBeLessThan(150);
});

test("timeoutMs covers the template", async () => {
  const { code, took } = await outcome(() =>
    model.chat(user("Hi"), { timeoutMs: 200, template: { chatTemplate: ENDLESS, timeout: 60_000 } }).result(),
  );
  expect(["ERR_TIMEOUT", "ERR_CHAT_TEMPLATE"]).toContain(code); // the template's own budget may end first
  expect(took).toBeLessThan(2_000);
});

test("one tenant's long texts do not hold up another's chat", async () => {
  const content = "word ".repeat(150_000);
  let refused = 0;
  const heavy = Array.from({ length: 20 }, () =>
    failureOf(() => model.chat(user(content), { cacheSalt: "a" }).result()).then(({ code }) => {
      refused++;
      expect(code).toBe("ERR_CONTEXT_LENGTH");
    }),
  );
  const asked = { cacheSalt: "b", maxTokens: 1 };
  const answer = await model.chat(user("What is 1 + 1?"), asked).result();
  expect(answer.tokens).toHaveLength(1);
  expect(refused).toBeLessThan(10);
  await Promise.all(heavy);
});

test.runIf(process.platform === "linux")(
  "little address space is ERR_OUT_OF_MEMORY, not the process's end",
  () => {
    const script = `
    const { loadModel } = await import(${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)});
    try {
      await using_(await loadModel("smollm2-135m-instruct", { threads: 1, contextLength: 64, maxSequences: 1 }));
    } catch (error) {
      console.log(error.code);
    }
    async function using_(model) {
      await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 1 }).result();
      console.log("answered");
      await model.dispose();
    }`;
    for (const kilobytes of [1_200_000, 1_800_000, 2_000_000, 4_000_000]) {
      const command = `ulimit -v ${kilobytes} && exec "$0" --input-type=module -e "$1"`;
      const child = spawnSync("bash", ["-c", command, process.execPath, script], { encoding: "utf8" });
      expect(child.signal).toBeNull();
      expect(child.stdout.trim()).toBe(kilobytes < 2_100_000 ? "ERR_OUT_OF_MEMORY" : "answered");
    }
  },
);
