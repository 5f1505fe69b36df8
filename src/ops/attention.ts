/** Causal multi-head self-attention by tiles: https://arxiv.org/abs/2307.08691. */
import source from "../../kernels/attention.wgsl" with { type: "text" };
import deltaSource from "../../kernels/attention-delta.wgsl" with { type: "text" };
import tileSource from "../../kernels/attention-tile.wgsl" with { type: "text" };
import type { Traits } from "../device/device";
import { expectShape, matrixOf, ShapeError } from "../tensor/shape";
import { type Launch, type Tensor, tensor, type Values, VIEW_ALIGNMENT } from "../tensor/tensor";
import { type Keep, keepWhole } from "./store";

/** B sequences of T tokens, C channels in H heads of D. */
interface Form {
  readonly B: number;
  readonly T: number;
  readonly C: number;
  readonly H: number;
  readonly D: number;
  readonly lseOffset: number;
  /** [B T] (u32): where in its row the document of each token begins. */
  readonly starts?: Tensor;
}

/**
 * softmax(q k / sqrt(D)) v for each head, each query seeing the keys up to its own position, from the beginning of its document on.
 * qkv: [B T, 3 C], its columns q, k, v, each of H heads of C / H channels (a multiple of 4) -> [B T, C].
 */
export function attention(qkv: Tensor, { tokens: T, heads: H, starts, keep = keepWhole }: AttentionOptions): Tensor {
  const kept = keep(qkv);
  const form = formOf(qkv, T, H, starts);
  const packed = packedForward(qkv, form);
  const { B, C } = form;
  return tensor({
    name: "attention",
    shape: [B * T, C],
    inputs: [packed, qkv],
    reference: (packed) => packed.subarray(0, B * T * C),
    vjp: (grad) => [null, attentionBackward(kept(), packed, grad, form)],
  });
}

export interface AttentionOptions {
  /** Tokens of a sequence. */
  readonly tokens: number;
  readonly heads: number;
  /** For rows of several documents, [B T] (u32): where in its row the document of each token begins. Never falls within a row. */
  readonly starts?: Tensor | undefined;
  readonly keep?: Keep;
}

function formOf(qkv: Tensor, T: number, H: number, starts?: Tensor): Form {
  const { rows, columns } = matrixOf("attention", "qkv", qkv.shape);
  const C = columns / 3;
  const D = C / H;
  if (rows % T !== 0) throw new ShapeError(`attention: qkv has ${rows} rows, expected a multiple of ${T} tokens`);
  if (!Number.isInteger(D) || D % 4 !== 0) {
    throw new ShapeError(`attention: ${C} channels in ${H} heads give ${D} a head, expected a multiple of 4`);
  }
  const B = rows / T;
  if (starts) expectShape("attention", "starts", starts.shape, [rows]);
  return {
    B,
    T,
    C,
    H,
    D,
    ...(starts && { starts }),
    lseOffset: Math.ceil((B * T * C) / VIEW_ALIGNMENT) * VIEW_ALIGNMENT,
  };
}

/** Heads of up to so many channels are computed by register tiles, where 32 KiB of shared memory are at hand. */
const TILED = 64;

function launchesOf(entry: "forward" | "backward", form: Form, traits: Traits): readonly Launch[] {
  if (traits.software || traits.workgroupBytes < 32768 || form.D > TILED) return [rowLaunch(entry, form, traits)];
  const entries = entry === "forward" ? ["forward"] : ["backward_query", "backward_key"];
  return entries.map((entry) => tileLaunch(entry, form));
}

/** A row an invocation. */
function rowLaunch(entry: "forward" | "backward", form: Form, { software }: Traits): Launch {
  const { B, T, H, D, starts } = form;
  const lanes = software ? 8 : D > 64 ? 32 : 64;
  return {
    kernel: {
      name: "attention",
      source,
      entry,
      constants: { WORKGROUP: lanes, STAGED: !software, SEGMENTS: starts !== undefined },
      // Both tiles together fill at most the 16 KiB of shared memory that every device has.
      specialize: { HEAD: `${D / 4}u`, KEYS: `${D > 64 ? 8 : 16}u` },
    },
    params: paramsOf(form),
    workgroups: [Math.ceil(T / lanes), B * H, entry === "forward" ? 1 : 2],
  };
}

function tileLaunch(entry: string, form: Form): Launch {
  const { B, T, H, D, starts } = form;
  const quads = D / 4;
  const mask = [7, 3, 1].find((mask) => quads % (mask + 1) === 0) ?? 0;
  return {
    kernel: {
      name: "attention-tile",
      source: tileSource,
      entry,
      constants: { SEGMENTS: starts !== undefined },
      specialize: { HEAD: `${quads}u`, MASK: `${mask}u` },
    },
    params: paramsOf(form),
    workgroups: [Math.ceil(T / 32), B * H, 1],
  };
}

function paramsOf({ T, H, D, lseOffset }: Form): Launch["params"] {
  return { tokens: T, heads: H, lse_offset: lseOffset, scale: 1 / Math.sqrt(D) };
}

/** The output rows, then the log-sum-exp of every query's scores, which the backward pass needs. */
function packedForward(qkv: Tensor, form: Form): Tensor {
  const { B, T, C, H, lseOffset } = form;
  return tensor({
    name: "attentionForward",
    shape: [lseOffset + B * H * T],
    inputs: [qkv, form.starts ?? qkv],
    reference: (qkv, starts) => {
      const y = new Float64Array(lseOffset + B * H * T);
      eachQuery(form, (b, h, t) => {
        const { weights, lse } = weightsOf(qkv, form, [b, h, t], starts!);
        weights.forEach((weight, j) => {
          eachChannel(form, h, (c) => {
            y[(b * T + t) * C + c]! += weight * qkv[(b * T + j) * 3 * C + 2 * C + c]!;
          });
        });
        y[lseOffset + (b * H + h) * T + t] = lse;
      });
      return y;
    },
    dispatch: (traits) => launchesOf("forward", form, traits),
  });
}

function attentionBackward(qkv: Tensor, packed: Tensor, grad: Tensor, form: Form): Tensor {
  const { B, T, C, H, D } = form;
  const deltas = tensor({
    name: "attentionDelta",
    shape: [B * H, T],
    inputs: [packed, grad],
    reference: (packed, grad) => {
      const y = new Float64Array(B * H * T);
      eachQuery(form, (b, h, t) => {
        eachChannel(form, h, (c) => {
          y[(b * H + h) * T + t]! += packed[(b * T + t) * C + c]! * grad[(b * T + t) * C + c]!;
        });
      });
      return y;
    },
    dispatch: () => ({
      kernel: { name: "attention-delta", source: deltaSource, entry: "forward" },
      params: { tokens: T, heads: H, width: D },
      workgroups: [Math.ceil(T / 64), B * H, 1],
    }),
  });
  return tensor({
    name: "attentionBackward",
    shape: qkv.shape,
    inputs: [qkv, packed, grad, deltas, form.starts ?? qkv],
    reference: (qkv, _packed, grad, deltas, starts) => {
      const y = new Float64Array(qkv.length);
      eachQuery(form, (b, h, t) => {
        const { weights } = weightsOf(qkv, form, [b, h, t], starts!);
        const row = (s: number, part: number) => (b * T + s) * 3 * C + part * C;
        weights.forEach((weight, j) => {
          let product = 0;
          eachChannel(form, h, (c) => {
            product += grad[(b * T + t) * C + c]! * qkv[row(j, 2) + c]!;
          });
          const ds = (weight * (product - deltas[(b * H + h) * T + t]!)) / Math.sqrt(D);
          eachChannel(form, h, (c) => {
            y[row(t, 0) + c]! += ds * qkv[row(j, 1) + c]!;
            y[row(j, 1) + c]! += ds * qkv[row(t, 0) + c]!;
            y[row(j, 2) + c]! += weight * grad[(b * T + t) * C + c]!;
          });
        });
      });
      return y;
    },
    dispatch: (traits) => launchesOf("backward", form, traits),
  });
}

function eachQuery({ B, T, H }: Form, f: (b: number, h: number, t: number) => void): void {
  for (let b = 0; b < B; b++) for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) f(b, h, t);
}

function eachChannel({ D }: Form, h: number, f: (c: number) => void): void {
  for (let c = h * D; c < (h + 1) * D; c++) f(c);
}

/** The softmax weights of query t over keys 0..t, zero before its document, and their log-sum-exp. */
function weightsOf(qkv: Values, form: Form, [b, h, t]: [number, number, number], starts: Values) {
  const { T, C, D } = form;
  const first = form.starts ? starts[b * T + t]! : 0;
  const scores: number[] = new Array(first).fill(Number.NEGATIVE_INFINITY);
  for (let j = first; j <= t; j++) {
    let score = 0;
    eachChannel(form, h, (c) => {
      score += qkv[(b * T + t) * 3 * C + c]! * qkv[(b * T + j) * 3 * C + C + c]!;
    });
    scores.push(score / Math.sqrt(D));
  }
  const largest = Math.max(...scores);
  const lse = largest + Math.log(scores.reduce((total, s) => total + Math.exp(s - largest), 0));
  return { weights: scores.map((s) => Math.exp(s - lse)), lse };
}
