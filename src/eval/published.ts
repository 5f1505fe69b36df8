/** What is published of GPT-2 124M's outputs, to check that weights, tokenizer and kernels are all right. */

import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import type { Model } from "../model/model";
import { bindAll, type Slab } from "../model/slab";
import { input } from "../tensor/tensor";

/**
 * Logits after each of the tokens of "usually, he would", their first and last entries, and the log-probabilities of the three tokens
 * that follow the first: https://huggingface.co/blog/the_n_implementation_details_of_rlhf_with_ppo, sections 7 and 10.
 */
export const published = {
  text: "usually, he would",
  ids: [23073, 11, 339, 561],
  first: [
    [-35.2869, -34.2875, -38.1608],
    [-111.304, -110.9447, -112.9062],
    [-111.5152, -109.6108, -114.9024],
    [-122.6978, -121.8447, -128.2742],
  ],
  last: [[-41.5958, -41.0821, -35.3658], [-113.1306, -113.7788, -109.1734], null, [-132.2805, -130.3961, -125.7078]],
  logProbs: [-3.3213, -4.998, -3.869],
} as const;

export interface Comparison {
  readonly what: string;
  readonly wanted: number;
  readonly got: number;
  readonly tolerance: number;
}

/** What `logits` [4, V] give beside what is published. Logits of this size carry an error of 1e-5 of theirs in float32. */
export function comparePublished(logits: Float32Array): Comparison[] {
  const vocabulary = logits.length / published.ids.length;
  const row = (r: number) => logits.subarray(r * vocabulary, (r + 1) * vocabulary);
  const found: Comparison[] = [];
  published.ids.forEach((_, r) => {
    const add = (column: number, wanted: number) =>
      found.push({ what: `logit of token ${column} after ${r + 1}`, wanted, got: row(r)[column]!, tolerance: 5e-3 });
    published.first[r]!.forEach((wanted, i) => {
      add(i, wanted);
    });
    published.last[r]?.forEach((wanted, i) => {
      add(vocabulary - 3 + i, wanted);
    });
  });
  published.logProbs.forEach((wanted, r) => {
    const token = published.ids[r + 1]!;
    found.push({ what: `log-probability of token ${token}`, wanted, got: logProb(row(r), token), tolerance: 1e-3 });
  });
  return found;
}

function logProb(row: Float32Array, token: number): number {
  const largest = row.reduce((a, b) => Math.max(a, b));
  return row[token]! - largest - Math.log(row.reduce((total, v) => total + Math.exp(v - largest), 0));
}

/** The model's logits, those of its adapters in them, after each of the published tokens: [4, V]. */
export function publishedLogits(
  device: Device,
  { model, slabs }: { readonly model: Model; readonly slabs: readonly Slab[] },
): Float32Array {
  const length = published.ids.length;
  const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
  const logits = model.logits(model.hidden(tokens, positions, { length }));
  using program = new Program(device, [logits], { bind: bindAll(slabs) });
  program.feed(tokens, Uint32Array.from(published.ids));
  program.feed(positions, Uint32Array.of(0, 1, 2, 3));
  program.run();
  return program.read(logits);
}
