/** Drawing from logits. */

export interface Sampling {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
}

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };

/** Numbers from 0 to 1, the same for the same seed (splitmix32). */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let value = this.state ^ (this.state >>> 16);
    value = Math.imul(value, 0x21f0aaad);
    value ^= value >>> 15;
    value = Math.imul(value, 0x735a2d97);
    return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
  }
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let place = 1; place < values.length; place++) if (values[place]! > values[best]!) best = place;
  return best;
}

/** An index of `logits`, drawn. `seen`: tokens that occurred already. */
export function draw(logits: Float32Array, sampling: Sampling, random: Random, seen: readonly number[] = []): number {
  const scores = penalized(logits, seen, sampling.repetitionPenalty);
  if (sampling.temperature <= 1e-200) return argmax(scores);
  let best = Array.from(scores.keys());
  if (sampling.topK > 0 || sampling.topP < 1 || sampling.minP > 0) best.sort((a, b) => scores[b]! - scores[a]!);
  if (sampling.topK > 0) best = best.slice(0, sampling.topK);
  const top = best.reduce((most, at) => Math.max(most, scores[at]!), -Infinity);
  let weights = best.map((at) => Math.exp((scores[at]! - top) / sampling.temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  weights = weights.map((weight) => weight / total);
  if (sampling.topP < 1) {
    let held = 0;
    const few = weights.findIndex((weight) => (held += weight) >= sampling.topP);
    if (few >= 0) weights = weights.slice(0, few + 1);
  }
  if (sampling.minP > 0) weights = weights.filter((weight) => weight >= sampling.minP * weights[0]!);
  const kept = weights.reduce((sum, weight) => sum + weight, 0);
  let left = random.next() * kept;
  for (let place = 0; place < weights.length; place++) {
    left -= weights[place]!;
    if (left < 0) return best[place]!;
  }
  return best[weights.length - 1]!;
}

function penalized(logits: Float32Array, seen: readonly number[], penalty: number): Float32Array {
  if (penalty === 1 || seen.length === 0) return logits;
  const changed = logits.slice();
  for (const token of new Set(seen)) {
    if (token >= 0) changed[token] = changed[token]! > 0 ? changed[token]! / penalty : changed[token]! * penalty;
  }
  return changed;
}
