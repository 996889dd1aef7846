// Rooflines as a chart: for each GPU its roofs, and the ops of some steps at their operations a byte.
import { parse, View } from "vega";
import { compile } from "vega-lite";

const WIDTH = 330;
const HEIGHT = 220;
const INTENSITY = [0.5, 4096]; // operations a byte

/** Points of a roof: bandwidth times intensity, up to the peak. */
const roof = (gpu, kind, peak) => {
  const knee = peak / gpu.bandwidth;
  return [INTENSITY[0], Math.min(knee, INTENSITY[1]), INTENSITY[1]].map((intensity) => ({
    intensity,
    rate: Math.min(peak, gpu.bandwidth * intensity) / 1e12,
    kind,
  }));
};

const group = (op) =>
  op.replace(/^matmul_expand .*/, "matmul_expand").replace(/.*quantize_shrink/, "quantize_shrink");

function chartOf(gpu, steps) {
  const points = steps
    .filter(({ device }) => device === gpu.name)
    .flatMap(({ step, sequences, time }) =>
      time.ops
        .map((op) => ({ ...op, operations: op.int8_mma + op.bf16_mma + op.dp4a + op.float32 }))
        .filter(({ op, operations }) => operations > 0 && /matmul|attention|quantize/.test(op))
        .map((op) => ({
          intensity: op.operations / (op.read + op.written),
          rate: op.operations / op.time.seconds / 1e12,
          op: group(op.op),
          step: step === "decode" ? `decode, ${sequences}` : "prefill, 512",
        })),
    );
  const roofs = [
    ...roof(gpu, "int8 tensor cores", gpu.int8 * gpu.mmaShare),
    ...roof(gpu, "dp4a", gpu.dp4a),
    ...roof(gpu, "float32", gpu.float32),
  ];
  const x = {
    field: "intensity",
    type: "quantitative",
    scale: { type: "log", domain: INTENSITY },
    title: "operations a byte",
  };
  const y = {
    field: "rate",
    type: "quantitative",
    scale: { type: "log", domain: [1e-3, 2e3], clamp: true },
    title: "10¹² operations a second",
  };
  return {
    title: { text: gpu.title, anchor: "start", fontSize: 12 },
    width: WIDTH,
    height: HEIGHT,
    layer: [
      {
        data: { values: roofs },
        mark: { type: "line", color: "#8a949e" },
        encoding: { x, y, detail: { field: "kind" } },
      },
      {
        data: { values: points },
        mark: { type: "point", filled: true, size: 45, opacity: 0.8 },
        encoding: {
          x,
          y,
          color: { field: "op", type: "nominal", title: "op" },
          shape: { field: "step", type: "nominal", title: "step" },
        },
      },
    ],
  };
}

/** An SVG document: a roofline for each GPU, with the ops of a 1B model's steps, adapter included. */
export async function chart({ steps, rank }, gpus) {
  const shown = steps.filter(
    (step) =>
      step.model === "1B" &&
      step.rank === rank &&
      (step.step === "decode" ? step.context === 512 : step.rows === 512),
  );
  const specification = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: "Model, not measured: ops of a 1B model under the roofs of four GPUs",
      subtitle: "roofs: int8 by mma.sync, dp4a, float32 on CUDA cores; points include the launch of a kernel",
      anchor: "start",
    },
    background: "white",
    columns: 2,
    concat: gpus.map((gpu) => chartOf(gpu, shown)),
  };
  const view = new View(parse(compile(specification).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}
