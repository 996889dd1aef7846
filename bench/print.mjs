// The report as lines for a reader.

const shown = (value) => (Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1));

const percent = (value) => (100 * value).toFixed(1);
const shareText = ({ of, ratio, low, high }) =>
  `${percent(ratio)} % of ${of}${low === undefined ? "" : ` (95 %: ${percent(low)} to ${percent(high)})`}`;

export function lineOf({ name, unit, median, min, max, limit, peers, share, ratio }) {
  const parts = [
    name.padEnd(26),
    `${shown(median).padStart(8)} ${unit} (${shown(min)} … ${shown(max)})`,
    ...(limit === undefined ? [] : [`limit ${shown(limit)}`]),
    ...(/^tokens|^Gop/.test(unit) && limit ? [`${((100 * median) / limit).toFixed(0)} % of it`] : []),
    ...(share ? [shareText(share)] : []),
    ...(ratio
      ? [
          `${ratio.median.toFixed(4)} of ${ratio.of}, 95 %: ${ratio.low.toFixed(4)} to ${ratio.high.toFixed(4)}`,
        ]
      : []),
    ...Object.entries(peers ?? {}).map(
      ([peer, value]) => `${(median / value).toFixed(2)}x ${peer} (${shown(value)})`,
    ),
  ];
  return `  ${parts.join(", ")}\n`;
}

export const print = (figure) => process.stdout.write(lineOf(figure));

/** What is true of the whole run. */
export function printRun({ ceilings, missing, valid, reasons }) {
  if (ceilings) process.stdout.write(`ceilings ${JSON.stringify(ceilings)}\n`);
  for (const { name, reason } of missing ?? []) process.stdout.write(`missing: ${name}: ${reason}\n`);
  if (valid === true) process.stdout.write("valid: no peer is more than 10 % below its anchor\n");
  if (valid === false) process.stdout.write(`NOT VALID: ${reasons.join("; ")}\n`);
  if (valid === null) process.stdout.write(`validity unknown: ${reasons.join("; ")}\n`);
}
