/**
 * Perplexity of a long text by a sliding window: each window sees `context` tokens, and only those that no window before it has
 * scored are scored. https://huggingface.co/docs/transformers/perplexity; stride = context is the plain, disjoint method.
 */

import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Model } from "../model/model";
import type { Slab } from "../model/slab";
import { likelihoods } from "./continuations";

export interface PerplexityOptions {
  /** Tokens that a window sees, at most the model's context. */
  readonly context: number;
  /** Tokens that a window after the first scores. */
  readonly stride: number;
  /** Windows that are scored, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Scored {
  /** Sum of -log p of the scored tokens, in nats. */
  readonly nats: number;
  /** Every token but the first. */
  readonly tokens: number;
  readonly windows: number;
  /** Of nats a token; null for a single window. */
  readonly stderr: number | null;
}

/** Tokens of a batch of windows, about. */
const BATCH_TOKENS = 2048;

interface Predicting {
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
}

export async function score(
  predicting: Predicting,
  ids: Uint16Array | Uint32Array,
  { context, stride, onProgress = () => {} }: PerplexityOptions,
): Promise<Scored> {
  if (ids.length < 2) throw new UserError(`the text has ${ids.length} tokens, and perplexity needs two`);
  const windows = windowsOf(ids.length, { context, stride });
  const surprises = new Float64Array(windows.length);
  let done = 0;
  for await (const [at, { logLikelihood }] of inWindows(predicting, ids, windows)) {
    surprises[at] = -logLikelihood;
    onProgress(++done, windows.length);
  }
  const nats = surprises.reduce((sum, each) => sum + each, 0);
  const tokens = ids.length - 1;
  return { nats, tokens, windows: windows.length, stderr: errorOf(windows, surprises, nats / tokens) };
}

/** The log-probability of every token but the first, each in the window that scores it: [tokens - 1], in nats. What `pause` throws ends it. */
export async function textLogProbs(
  predicting: Predicting,
  ids: Uint16Array | Uint32Array,
  { context, stride, pause }: Omit<PerplexityOptions, "onProgress"> & { readonly pause: () => Promise<void> },
): Promise<Float32Array> {
  if (ids.length < 2) return new Float32Array(0);
  const windows = windowsOf(ids.length, { context, stride });
  const all = new Float32Array(ids.length - 1);
  for await (const [at, { logProbs }] of inWindows(predicting, ids, windows)) {
    all.set(logProbs, windows[at]!.from - 1);
    await pause();
  }
  return all;
}

/** Yields [which window, what its scored tokens are worth]. */
async function* inWindows(
  { device, model, slabs }: Predicting,
  ids: Uint16Array | Uint32Array,
  windows: readonly Window[],
) {
  const first = windows[0]!;
  const length = first.end - first.begin;
  const rows = Math.min(windows.length, Math.max(1, Math.floor(BATCH_TOKENS / length)));
  const asked = windows.map(({ begin, end, from }) => ({
    ids: ids.subarray(begin, end + 1),
    from: from - begin,
    where: "the text",
  }));
  for await (const found of likelihoods({ device, model, slabs, rows, length }, asked)) {
    expectFinite(-found[1].logLikelihood, "the text");
    yield found;
  }
}

/**
 * The standard error of a mean over tokens that were drawn by whole windows, since neighbours are not independent of one another: that
 * of a ratio of sums. Where all windows score as many tokens it is that of the mean of their means.
 */
function errorOf(windows: readonly Window[], surprises: Float64Array, mean: number): number | null {
  if (windows.length < 2) return null;
  const squares = windows.reduce((sum, { from, end }, at) => sum + (surprises[at]! - mean * (end + 1 - from)) ** 2, 0);
  const tokens = windows.reduce((sum, { from, end }) => sum + end + 1 - from, 0);
  return Math.sqrt((squares * windows.length) / (windows.length - 1)) / tokens;
}

/** Throws a UserError where a loss is none: the weights or the logits are not finite. */
export function expectFinite(loss: number, what: string): void {
  if (Number.isFinite(loss)) return;
  throw new UserError(`the loss of ${what} is ${loss}: the model's logits are not finite`, {
    hint: "its weights are damaged or too large",
  });
}

/** A window reads ids[begin, end) and predicts ids[begin + 1, end + 1), of which those from `from` on are scored. */
export interface Window {
  readonly begin: number;
  readonly end: number;
  readonly from: number;
}

export function windowsOf(count: number, { context, stride }: { context: number; stride: number }): Window[] {
  const windows: Window[] = [];
  const last = count - 1; // the last id is only predicted
  for (let begin = 0, from = 1; from <= last; begin += stride) {
    const end = Math.min(begin + context, last);
    if (end + 1 > from) windows.push({ begin, end, from });
    from = end + 1;
  }
  return windows;
}
