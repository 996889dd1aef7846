// Whether the peers ran as they should: each against what it once did on a quiet machine of the same kind. A peer that is far slower was
// held back, by other programs or a bad installation, and ratios to it flatter us.
import { readFileSync } from "node:fs";

const FALLS_SHORT = 0.9;
const { machines } = JSON.parse(readFileSync(new URL("data/anchors.json", import.meta.url), "utf8"));

const isOf = ({ vendor, family, flags, cores }, anchor) =>
  vendor === anchor.vendor &&
  family === anchor.family &&
  cores === anchor.cores &&
  (flags ?? []).includes(anchor.flag);

/**
 * valid: whether no peer is more than 10 % below its anchor; null where there is nothing to compare with, that is on another kind of machine or
 * without peers. reasons: of false and null.
 */
export function checkAnchors(processor, model, figures) {
  const anchor = machines.find((one) => isOf(processor, one));
  if (!anchor) return { valid: null, reasons: ["no anchors for this kind of machine"] };
  const compared = Object.entries(anchor.peers[model] ?? {}).flatMap(([peer, rates]) =>
    Object.entries(rates).map(([name, rate]) => ({
      name,
      peer,
      rate,
      measured: figures.find((figure) => figure.name === name)?.peers?.[peer],
    })),
  );
  const found = compared.filter(({ measured }) => measured !== undefined);
  if (found.length === 0) return { valid: null, reasons: ["no peer that has an anchor was measured"] };
  const reasons = found
    .filter(({ measured, rate }) => measured < FALLS_SHORT * rate)
    .map(
      ({ name, peer, rate, measured }) =>
        `${peer} reached ${measured.toFixed(1)} for ${name}, ${(100 * (1 - measured / rate)).toFixed(0)} % below ${rate}`,
    );
  return { valid: reasons.length === 0, reasons };
}
