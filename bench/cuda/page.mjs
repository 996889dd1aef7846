// The roofline page: what the model says of every GPU, as Markdown.
import { ASSUMPTIONS } from "./time-model.mjs";

const ADAPTER_BAR = 0.05;

const rate = (value) => Math.round(value).toLocaleString("en-US");
const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;
const more = (value) => `${value < 0 ? "−" : "+"}${percent(Math.abs(value))}`;
const micro = (seconds) => (seconds * 1e6).toFixed(0);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const tera = (value) => (value / 1e12).toFixed(value < 1e14 ? 1 : 0);

const table = (head, rows) =>
  [head, head.map((_, i) => (i === 0 ? "---" : "---:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");

const stepName = ({ step, sequences, rows, context }) =>
  step === "decode"
    ? `decode, ${sequences} ${sequences === 1 ? "sequence" : "sequences"} at ${context.toLocaleString("en-US")}`
    : `prefill of ${rows.toLocaleString("en-US")}`;
const same = (a, b) =>
  ["model", "step", "sequences", "rows", "context", "device"].every((key) => a[key] === b[key]);

/** Tokens a second of every step, a column for each GPU, with what an adapter makes of it. */
function ratesOf(model, steps, gpus, rank) {
  const plain = steps.filter((step) => step.model === model && step.rank === 0);
  const names = [...new Set(plain.map(stepName))];
  return table(
    ["tokens/s", ...gpus.flatMap(({ title }) => [title, "adapter"])],
    names.map((name) => [
      name,
      ...gpus.flatMap((gpu) => {
        const without = plain.find((step) => stepName(step) === name && step.device === gpu.name);
        const adapted = steps.find((step) => step.rank === rank && same(step, without));
        return [rate(without.time.tokens), more(adapted.time.seconds / without.time.seconds - 1)];
      }),
    ]),
  );
}

/** Where an adapter costs more than the bar, one line for each GPU. */
function aboveBar(steps, gpus, rank) {
  const lines = gpus.flatMap(({ name, title }) => {
    const cells = steps
      .filter((step) => step.device === name && step.rank === 0)
      .map((step) => {
        const adapted = steps.find((other) => other.rank === rank && same(step, other));
        return { step, cost: adapted.time.seconds / step.time.seconds - 1 };
      })
      .filter(({ cost }) => cost > ADAPTER_BAR)
      .map(({ step, cost }) => `${step.model} ${stepName(step)} (${more(cost)})`);
    return cells.length === 0 ? [] : [`- ${title}: ${cells.join("; ")}`];
  });
  return lines.length === 0 ? "It is met everywhere." : `It is not met here:\n\n${lines.join("\n")}`;
}

/** Where the time of one step goes. */
function opsOf(step) {
  const { seconds, ops } = step.time;
  return table(
    ["op", "calls", "MB", "Gop", "blocks", "kernels", "µs", "share", "bound by"],
    [
      ...ops.map((op) => [
        op.op,
        op.count,
        megabytes(op.read + op.written),
        ((op.int8_mma + op.bf16_mma + op.dp4a + op.float32) / 1e9).toFixed(2),
        op.launches.map(({ blocks }) => blocks).join(" + "),
        op.launches.map(({ name }) => `\`${name}\``).join(", "),
        micro(op.time.seconds),
        percent(op.time.seconds / seconds),
        op.time.bound,
      ]),
      [
        "beside the kernels",
        "",
        "",
        "",
        "",
        "",
        micro(ASSUMPTIONS.step),
        percent(ASSUMPTIONS.step / seconds),
        "",
      ],
    ],
  );
}

/** Markdown of the whole page. `report`: what lowrank_cuda_roofline printed, with the times of every step. */
export function page({ models, steps, rank }, gpus) {
  const shown = [
    ["1B", "decode", 1, 1, 512, gpus[0]],
    ["1B", "decode", 16, 1, 512, gpus[0]],
    ["1B", "prefill", 1, 512, 0, gpus[0]],
    ["1B", "decode", 1, 1, 512, gpus.at(-1)],
    ["1B", "prefill", 1, 512, 0, gpus.at(-1)],
  ].map(([model, step, sequences, rows, context, gpu]) => ({
    gpu,
    step: steps.find(
      (one) => one.rank === rank && same(one, { model, step, sequences, rows, context, device: gpu.name }),
    ),
  }));
  return `# What the CUDA kernels should reach

**Model, not measured.** No kernel of this package has run on a GPU yet. This page is computed by \`npm run cuda:roofline\`: the engine's own graph is
recorded for each step, the device ops turn it into kernel launches, and each op's bytes and operations are counted from the parameters
that its kernels get (\`bench/native/cuda/cost.cpp\`). \`npm run cuda:selftest\` on a GPU puts measured figures in their place.

![Operations a byte and operations a second of the ops on four GPUs, under their rooflines](cuda-roofline.svg)

## Assumptions

- A kernel takes the longer of its bytes over ${percent(ASSUMPTIONS.bandwidth, 0)} of the published bandwidth and its operations over ${percent(ASSUMPTIONS.tensor, 0)} of the tensor cores' or
  ${percent(ASSUMPTIONS.cores, 0)} of the CUDA cores' published peak. Tensor cores are driven by \`mma.sync\`, which reaches 62.9 % of an H100's peak (arXiv
  2402.13499).
- What a step reads again, by other blocks of a kernel, comes from the caches for nothing; every op's input and output go through the
  GPU's memory.
- The multiprocessor with the most blocks decides over operations; one multiprocessor takes at most 64 bytes a clock. The latency of
  memory is not modelled: a kernel with few loads under way stays below its roof.
- ${(ASSUMPTIONS.launch * 1e6).toFixed(1)} µs for each kernel in a CUDA graph beside its work, and ${micro(ASSUMPTIONS.step)} µs for each step beside its kernels.

${table(
  ["GPU", "GB/s", "int8 Top/s", "bfloat16 Top/s", "float32 Top/s", "multiprocessors", "source"],
  gpus.map((gpu) => [
    gpu.title,
    rate(gpu.bandwidth / 1e9),
    tera(gpu.int8),
    tera(gpu.bf16),
    tera(gpu.float32),
    gpu.multiprocessors,
    gpu.source,
  ]),
)}

## Rates

int8 weights and activations, keys and values in bfloat16, the whole step: embedding, layers, lm_head of the last token of each sequence,
candidates. "adapter": what a rank-${rank} adapter on all seven projections of all layers, in bfloat16, adds to the time (our bar: 5 %);
below zero where the kernel that has a shrink spreads a row over more blocks. Its shrink and its expand run on bfloat16 tensor cores, three
products for one of float32. ${aboveBar(steps, gpus, rank)}

${models
  .map(
    ({ name, like, weight_bytes, adapter_bytes }) =>
      `### ${name} (the shape of ${like}): ${megabytes(weight_bytes)} MB of weights, ${megabytes(adapter_bytes)} MB of adapter\n\n${ratesOf(name, steps, gpus, rank)}`,
  )
  .join("\n\n")}

## Ops

With the adapter. Bytes and operations of all calls together; operations are padded as the kernels pad their tiles.

${shown.map(({ step, gpu }) => `### ${step.model}, ${stepName(step)}, ${gpu.title}\n\n${opsOf(step)}`).join("\n\n")}
`;
}
