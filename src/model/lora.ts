/**
 * Low-rank adapters: y = x W + s x A^T B^T beside a frozen W (LoRA, https://arxiv.org/abs/2106.09685, section 4.1), with
 * s = alpha / r, or alpha / sqrt(r) (rsLoRA, https://arxiv.org/abs/2312.03732). With magnitudes (DoRA,
 * https://arxiv.org/abs/2402.09353, equation 5) each column of W + s (B A)^T is brought to a length of its own. Shapes and names are
 * PEFT's: A is [r, in], B [out, r], although W lies [in, out].
 */

import { doraNorm, scaleColumns } from "../ops/dora";
import { scale } from "../ops/elementwise";
import { addColumns, matmul } from "../ops/matmul";
import type { Tensor } from "../tensor/tensor";
import { HEAD, type LinearOptions, type Module, scoreSpec } from "./architecture";
import { layOut, type ParameterSpec, type Parameters, parameter } from "./parameters";

export interface LoraSettings {
  readonly rank: number;
  readonly alpha: number;
  /** Share of an adapted layer's inputs that the adapter does not see in training. */
  readonly dropout: number;
  /** alpha / sqrt(rank) instead of alpha / rank. */
  readonly rslora: boolean;
  readonly dora: boolean;
}

export interface Adapter {
  readonly settings: LoraSettings;
  /** The rank of each layer that is adapted. */
  readonly ranks: ReadonlyMap<string, number>;
  /** Has the scalar head with it, trained beside its matrices: SCORE is one of its parameters. */
  readonly scored: boolean;
  readonly parameters: Parameters;
}

/**
 * Those of a model's layers that patterns name: the end of a name (`attn.c_attn`, `c_proj`, `h.11.mlp.c_fc`), with * for any part of it (`h.1*.attn.*`),
 * `head`, or `all-linear`, which is all but the head.
 */
export function targeted(modules: readonly Module[], patterns: readonly string[]): Module[] {
  const names = (name: string) => (pattern: string) => {
    if (pattern === "all-linear") return name !== HEAD;
    const wanted = pattern === "head" ? HEAD : pattern;
    const escaped = wanted.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
    return new RegExp(`(^|\\.)${escaped}$`).test(name);
  };
  return modules.filter(({ name }) => patterns.some(names(name)));
}

/**
 * An adapter's weights, laid out: A random, B zero, so that at first it changes nothing. Magnitudes are for the caller to set. With
 * `score`, the model's width, a scalar head goes with it.
 */
export function adapterOf(
  modules: readonly (Module & { readonly rank?: number })[],
  settings: LoraSettings,
  { score }: { readonly score?: number | undefined } = {},
): Adapter {
  const matrices = modules.flatMap(({ name, inputs, outputs, rank = settings.rank }): ParameterSpec[] => [
    // kaiming_uniform(a = sqrt(5)), as PEFT initialises A.
    { name: `${name}.lora_A.weight`, shape: [rank, inputs], init: { uniform: 1 / Math.sqrt(inputs) }, decay: true },
    { name: `${name}.lora_B.weight`, shape: [outputs, rank], init: { value: 0 }, decay: true },
    ...(settings.dora
      ? [{ name: `${name}.lora_magnitude_vector`, shape: [outputs], init: { value: 1 }, decay: false }]
      : []),
  ]);
  return {
    settings,
    ranks: new Map(modules.map(({ name, rank = settings.rank }) => [name, rank])),
    scored: score !== undefined,
    parameters: layOut([...matrices, ...(score === undefined ? [] : [scoreSpec(score)])]),
  };
}

/** s: what B A is multiplied with. */
export function scaleOf({ alpha, rslora }: LoraSettings, rank: number): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}

/** s dropout(x) A^T: [N, in] -> [N, r], or null where the adapter leaves the layer alone. */
export function narrowedInput(
  { settings, ranks, parameters }: Adapter,
  name: string,
  x: Tensor,
  { keep, drop = (x) => x }: LinearOptions,
): Tensor | null {
  const rank = ranks.get(name);
  if (rank === undefined) return null;
  const a = parameter(parameters, `${name}.lora_A.weight`).tensor;
  return scale(matmul(drop(x, settings.dropout), a, { transposeB: true, keep }), scaleOf(settings, rank));
}

export interface Layer {
  /** [in, out], or as it is stored quantised [out, in]. */
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** x W + b with what adapters add to it. */
export function adaptedLinear(
  x: Tensor,
  name: string,
  { weight, bias }: Layer,
  adapters: readonly Adapter[],
  options: LinearOptions & { readonly product: (x: Tensor, bias?: Tensor) => Tensor },
): Tensor {
  const here = adapters.filter(({ ranks }) => ranks.has(name));
  const dora = here.find(({ settings }) => settings.dora);
  let y = options.product(x, dora ? undefined : bias);
  for (const adapter of here) {
    const b = parameter(adapter.parameters, `${name}.lora_B.weight`).tensor;
    y = addColumns(y, 0, narrowedInput(adapter, name, x, options)!, b);
  }
  if (!dora) return y;
  if (here.length > 1) throw new Error(`${name}: a DoRA adapter cannot be stacked with another`);
  const of = (part: string) => parameter(dora.parameters, `${name}.${part}`).tensor;
  const factor = scaleOf(dora.settings, dora.ranks.get(name)!);
  const norm = doraNorm(weight, of("lora_A.weight"), of("lora_B.weight"), factor);
  return scaleColumns(y, of("lora_magnitude_vector"), norm, bias);
}

/** An adapter's weights as the host has them. */
export interface AdapterValues {
  readonly adapter: Adapter;
  /** Values of a parameter of the adapter. */
  values(name: string): Float32Array;
}

/** Changes W [in, out] (for the head the table [V, C]) to what the adapter makes of it. */
export function mergeInto(
  weights: Float32Array,
  { name, inputs, outputs }: Module,
  { adapter, values }: AdapterValues,
) {
  const rank = adapter.ranks.get(name);
  if (rank === undefined) return;
  const factor = scaleOf(adapter.settings, rank);
  const a = values(`${name}.lora_A.weight`);
  const b = values(`${name}.lora_B.weight`);
  // The head's table is [out, in], all others [in, out].
  const [inputStep, outputStep] = name === HEAD ? [1, inputs] : [outputs, 1];
  const row = new Float64Array(outputs);
  for (let i = 0; i < inputs; i++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const v = factor * a[r * inputs + i]!;
      for (let j = 0; j < outputs; j++) row[j]! += v * b[j * rank + r]!;
    }
    for (let j = 0; j < outputs; j++) weights[i * inputStep + j * outputStep]! += row[j]!;
  }
  if (!adapter.settings.dora) return;
  const norms = columnNorms(weights, inputs, outputs);
  const magnitudes = values(`${name}.lora_magnitude_vector`);
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < outputs; j++) weights[i * outputs + j]! *= magnitudes[j]! / norms[j]!;
}

/** The length of each column of a matrix [in, out]: DoRA's first magnitudes. */
export function columnNorms(weights: Float32Array, inputs: number, outputs: number): Float32Array {
  const squares = new Float64Array(outputs);
  for (let i = 0; i < inputs; i++) for (let j = 0; j < outputs; j++) squares[j]! += weights[i * outputs + j]! ** 2;
  return Float32Array.from(squares, Math.sqrt);
}
