// The figures as a chart: for each our bar, the peers' bars, and a line at the machine's limit, on an axis of its own.
import { parse, View } from "vega";
import { compile } from "vega-lite";

const WIDTH = 520;
const NAMES_WIDTH = 150;
const OURS = "lowrank";
const COLOURS = { ours: "#1f5fa8", peer: "#b9c3cd", limit: "#c0392b" };

function barsOf({ median, peers = {} }) {
  return [[OURS, median], ...Object.entries(peers)].map(([who, value]) => ({
    who,
    value,
    label: value >= 100 ? value.toFixed(0) : value.toFixed(2),
  }));
}

function chartOf(figure) {
  const bars = barsOf(figure);
  const y = {
    field: "who",
    type: "nominal",
    sort: bars.map(({ who }) => who),
    title: null,
    axis: { minExtent: NAMES_WIDTH },
  };
  const x = { field: "value", type: "quantitative", title: null, scale: { zero: true } };
  const color = {
    condition: { test: `datum.who === '${OURS}'`, value: COLOURS.ours },
    value: COLOURS.peer,
  };
  const limit = {
    data: { values: [{ limit: figure.limit }] },
    mark: { type: "rule", color: COLOURS.limit, strokeWidth: 2 },
    encoding: { x: { field: "limit", type: "quantitative" } },
  };
  return {
    title: { text: `${figure.name} (${figure.unit})`, anchor: "start", fontSize: 11 },
    data: { values: bars },
    width: WIDTH,
    height: { step: 16 },
    layer: [
      { mark: "bar", encoding: { x, y, color } },
      {
        mark: { type: "text", align: "left", dx: 3, fontSize: 10 },
        encoding: { x, y, text: { field: "label" } },
      },
      ...(figure.limit === undefined ? [] : [limit]),
    ],
  };
}

/** An SVG document of a report's figures. */
export async function plot({ machine, model, figures }) {
  const specification = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: {
      text: `${model} on ${machine.cpu}, ${machine.cores} cores`,
      subtitle: "red: what the machine allows at most",
      anchor: "start",
    },
    background: "white",
    vconcat: figures.map(chartOf),
  };
  const view = new View(parse(compile(specification).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}
