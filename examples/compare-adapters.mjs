// How do two adapters change a model? The demo adapters at full and half scale against the base, on the demo prompts: first on the answers
// that the base writes, then each variant answers itself. Run it with: node examples/compare-adapters.mjs
// It writes compare.json and compare.html into the current folder.
import { readFile, writeFile } from "node:fs/promises";
import { loadModel } from "lowrank";

const adapters = new URL("./adapters/", import.meta.url);
const { prompts } = JSON.parse(await readFile(new URL("demo-prompts.json", adapters), "utf8"));
const print = (text) => process.stdout.write(text);

const model = await loadModel("smollm2-135m-instruct");
try {
  for (const name of ["order-json", "maintenance-report"])
    await model.adapters.load(name, new URL(name, adapters).pathname);

  const comparison = await model.compare(
    prompts.map(({ message }) => ({ messages: [{ role: "user", content: message }] })),
    [null, "order-json", { name: "order-json", scale: 0.5 }, "maintenance-report"],
    {
      maxTokens: 96,
      generations: true,
      onProgress: ({ stage, done, total }) => {
        if (process.stdout.isTTY) print(`\r  ${stage}: ${done} of ${total} `);
      },
    },
  );
  const shown = ({ value, interval }) =>
    value.toFixed(3) + (interval ? ` (${interval.map((bound) => bound.toFixed(3)).join(" to ")})` : "");
  print("\nOn the base's own answers, with 95 % intervals over the prompts:\n");
  for (const { label, meanKl, meanLogprobDifference, top1Agreement } of comparison.summary)
    print(
      `  ${label}: KL ${shown(meanKl)} nats, log-probability ${shown(meanLogprobDifference)}, ` +
        `top-1 agreement ${shown(top1Agreement)}\n`,
    );
  await writeFile("compare.json", `${JSON.stringify(comparison, null, 2)}\n`);
  await writeFile("compare.html", comparison.toHtml());
  print("compare.json and compare.html are written.\n");
} finally {
  await model.dispose();
}
