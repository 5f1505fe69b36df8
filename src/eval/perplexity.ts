/**
 * Perplexity of a long text by a sliding window: each window sees `context` tokens, and only those that no window before it has
 * scored are scored. https://huggingface.co/docs/transformers/perplexity; stride = context is the plain, disjoint method.
 */

import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Model } from "../model/model";

import { nextToken } from "../model/next-token";
import { bindAll, type Slab } from "../model/slab";
import { IGNORE } from "../ops/cross-entropy";
import { ticker } from "../tick";

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
}

/** Tokens of a batch of windows, about. */
const BATCH_TOKENS = 2048;

export async function score(
  { device, model, slabs }: { readonly device: Device; readonly model: Model; readonly slabs: readonly Slab[] },
  ids: Uint16Array | Uint32Array,
  { context, stride, onProgress = () => {} }: PerplexityOptions,
): Promise<Scored> {
  if (ids.length < 2) throw new UserError(`the text has ${ids.length} tokens, and perplexity needs two`);
  const windows = windowsOf(ids.length, { context, stride });
  const length = Math.min(context, ids.length - 1);
  const rows = Math.min(windows.length, Math.max(1, Math.floor(BATCH_TOKENS / length)));
  const graph = nextToken(model, { rows, length });
  using program = new Program(device, [graph.loss], { bind: bindAll(slabs) });
  program.feed(graph.positions, graph.rowPositions);
  program.feed(graph.weight, new Float32Array([1]));
  const tokens = new Uint32Array(rows * length);
  const targets = new Uint32Array(rows * length);
  let nats = 0;
  const pause = ticker();
  for (let at = 0; at < windows.length; at += rows) {
    tokens.fill(0);
    targets.fill(IGNORE);
    windows.slice(at, at + rows).forEach(({ begin, from, end }, row) => {
      for (let i = begin; i < end; i++) {
        tokens[row * length + i - begin] = ids[i]!;
        if (i + 1 >= from) targets[row * length + i - begin] = ids[i + 1]!;
      }
    });
    await pause();
    program.feed(graph.tokens, tokens);
    program.feed(graph.targets, targets);
    program.run();
    nats += program.read(graph.loss)[0]!;
    onProgress(Math.min(at + rows, windows.length), windows.length);
  }
  expectFinite(nats / (ids.length - 1), "the text");
  return { nats, tokens: ids.length - 1 };
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
