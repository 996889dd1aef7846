/** Collects what positions differ by. */
export class Comparison {
  divergences = [];
  agreed = 0;
  referenceLoss = 0;
  loss = 0;
  predicted = 0;

  summary() {
    const sorted = Float64Array.from(this.divergences).sort();
    return {
      kl_mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
      kl_p99: sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))],
      top1: this.agreed / sorted.length,
      reference_perplexity: Math.exp(this.referenceLoss / this.predicted),
      perplexity: Math.exp(this.loss / this.predicted),
    };
  }
}

function highest(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}

/** Adds every position of a window: KL(reference || measured) in nats, top-1 agreement, cross-entropy of the next token. */
export function compareLogits(reference, measured, ids, comparison) {
  const size = reference.vocabularySize;
  for (let position = 0; position < reference.positions; position++) {
    const p = reference.logits.subarray(position * size, (position + 1) * size);
    const q = measured.logits.subarray(position * size, (position + 1) * size);
    const [bestP, bestQ] = [highest(p), highest(q)];
    const [maxP, maxQ] = [p[bestP], q[bestQ]];
    let sumP = 0;
    let sumQ = 0;
    let cross = 0;
    for (let i = 0; i < size; i++) {
      const weight = Math.exp(p[i] - maxP);
      sumP += weight;
      sumQ += Math.exp(q[i] - maxQ);
      cross += weight * (p[i] - maxP - (q[i] - maxQ));
    }
    comparison.divergences.push(cross / sumP - Math.log(sumP) + Math.log(sumQ));
    if (bestP === bestQ) comparison.agreed++;
    if (position + 1 === ids.length) continue;
    const next = ids[position + 1];
    comparison.referenceLoss -= p[next] - maxP - Math.log(sumP);
    comparison.loss -= q[next] - maxQ - Math.log(sumQ);
    comparison.predicted++;
  }
}
