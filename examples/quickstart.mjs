// The main job, end to end: a real small model in int8 answers, then the same question goes through two adapters, switched
// without reloading the model. Run it with: npm run quickstart
import { readFile } from "node:fs/promises";
import cliProgress from "cli-progress";
import { loadModel } from "lowrank";

const MB = 1024 * 1024;
const adapters = new URL("./adapters/", import.meta.url);
const { prompts } = JSON.parse(await readFile(new URL("demo-prompts.json", adapters), "utf8"));
const question = prompts[0].message;
const print = (text) => process.stdout.write(text);

async function load() {
  const bar = new cliProgress.SingleBar(
    { format: "  {stage} [{bar}] {percentage}% {file}", clearOnComplete: true, noTTYOutput: false },
    cliProgress.Presets.shades_classic,
  );
  let stage = "";
  const began = performance.now();
  const model = await loadModel("smollm2-135m-instruct", {
    onProgress(progress) {
      if (progress.stage === "fallback")
        return print(`  ${progress.reason}: using ${progress.source} instead\n`);
      if (progress.stage === "wait")
        return print(`  waiting for another process that fetches ${progress.file}\n`);
      const [done, total] =
        progress.stage === "load"
          ? [progress.parameters, progress.totalParameters]
          : [progress.receivedBytes, progress.totalBytes];
      if (stage !== progress.stage) {
        if (stage) bar.stop();
        stage = progress.stage;
        bar.start(total, done, { stage, file: progress.file ?? "" });
        if (!process.stdout.isTTY) print(`  ${stage} ${progress.file ?? ""}\n`);
      }
      bar.update(done);
    },
  });
  bar.stop();
  const { facts } = model;
  print(
    `  ${facts.architecture}, ${(facts.parameters / 1e6).toFixed(0)} M parameters, ${facts.precision} on ` +
      `${facts.instructionSet} with ${facts.threads} threads, ready in ${((performance.now() - began) / 1000).toFixed(1)} s\n`,
  );
  return model;
}

async function answer(model, title, messages, options) {
  print(`\n--- ${title}\n`);
  const generation = model.chat(messages, { maxTokens: 160, ...options });
  for await (const part of generation) print(part.text);
  const { timings, usage } = await generation.result();
  print(
    `\n    [${usage.promptTokens} prompt tokens at ${timings.prefillTokensPerSecond.toFixed(0)}/s, ` +
      `${usage.completionTokens} generated at ${timings.decodeTokensPerSecond.toFixed(0)}/s]\n`,
  );
}

print("Loading SmolLM2-135M-Instruct (the first time it is downloaded, about 93 MB)\n");
const model = await load();
try {
  await answer(model, "The base model", [
    { role: "user", content: "Why is the sky blue? Answer in one sentence." },
  ]);

  const began = performance.now();
  await model.adapters.load("order-json", new URL("order-json", adapters).pathname);
  await model.adapters.load("maintenance-report", new URL("maintenance-report", adapters).pathname);
  print(`\nTwo adapters loaded in ${(performance.now() - began).toFixed(0)} ms:\n`);
  for (const one of model.adapters.list())
    print(
      `  ${one.name}: rank ${one.rank}, ${one.targets.length} modules, ${(one.bytes / MB).toFixed(1)} MB\n`,
    );

  print(`\nOne question for all:\n${question}\n`);
  const messages = [{ role: "user", content: question }];
  await answer(model, "without an adapter", messages, { maxTokens: 80 });
  await answer(model, 'adapter "order-json"', messages, { adapter: "order-json" });
  await answer(model, 'adapter "maintenance-report"', messages, { adapter: "maintenance-report" });

  // A name is moved to another loaded version: what a deployment does, while requests run.
  await model.adapters.load("live", new URL("order-json", adapters).pathname);
  const swapped = performance.now();
  await model.adapters.swap("live", { name: "maintenance-report" });
  const swapMs = performance.now() - swapped;

  const memory = model.memory();
  print(`\nA swap of "live" from one loaded adapter to the other took ${swapMs.toFixed(3)} ms.\n`);
  print(
    `Memory: weights ${(memory.weightBytes / MB).toFixed(0)} MB, KV cache ${(memory.kvCacheBytes / MB).toFixed(0)} MB, ` +
      `adapters ${(memory.adapterBytes / MB).toFixed(1)} MB, whole process ${(process.memoryUsage().rss / MB).toFixed(0)} MB.\n`,
  );
} finally {
  await model.dispose();
}
