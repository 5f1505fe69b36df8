/**
 * GPT-2, whole: sizes, parameters, initialisation and forward pass. Pre-layer-norm blocks, tanh GELU, learned positions, head
 * tied to the token embedding (https://cdn.openai.com/better-language-models/language_models.pdf, section 2.3). Parameters
 * have the names and shapes of Hugging Face's checkpoints; Conv1D weights lie [in, out].
 */
import { recompute } from "../autograd/gradients";
import { add } from "../ops/add";
import { attention } from "../ops/attention";
import { attentionCached, type CachePlaces, cacheAppend } from "../ops/attention-decode";
import { dropout } from "../ops/dropout";
import { gather } from "../ops/gather";
import { gelu } from "../ops/gelu";
import { layerNorm } from "../ops/layer-norm";
import { matmul } from "../ops/matmul";
import { keepHalf, keepWhole } from "../ops/store";
import { isQuantised } from "../tensor/stored";
import { input, type Tensor } from "../tensor/tensor";
import { type HeadLoss, headLoss } from "./head";
import { type Adapter, type AdaptOptions, adaptedLinear, HEAD, narrowedInput } from "./lora";
import { layOut, type ParameterSpec, type Parameters, parameter, type Storage } from "./parameters";
import { addProduct, embed, project, type TablePart, tableParts } from "./table";

export interface ModelConfig {
  /** Tokens in the vocabulary. */
  readonly vocabulary: number;
  /** The longest sequence: number of learned positions. */
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  /** Channels of the residual stream. */
  readonly width: number;
  readonly epsilon: number;
  /** false: the head has a table of its own, lm_head.weight, instead of the token embedding. */
  readonly tied?: boolean;
}

interface Size {
  readonly layers: number;
  readonly heads: number;
  readonly width: number;
  readonly context: number;
}

const size = (layers: number, heads: number, width: number, context: number): Size => ({
  layers,
  heads,
  width,
  context,
});

/**
 * Named sizes. GPT-2's: https://huggingface.co/openai-community. GPT-3's eight: https://arxiv.org/abs/2005.14165, table 2.1; where
 * its heads times its head size differ from its width (XL, 13B), heads of 128 channels that fill the width are used.
 */
export const presets: Readonly<Record<string, Size>> = {
  micro: size(2, 4, 128, 128),
  tiny: size(4, 4, 256, 256),
  distilgpt2: size(6, 12, 768, 1024),
  gpt2: size(12, 12, 768, 1024),
  "gpt2-medium": size(24, 16, 1024, 1024),
  "gpt2-large": size(36, 20, 1280, 1024),
  "gpt2-xl": size(48, 25, 1600, 1024),
  "gpt3-small": size(12, 12, 768, 2048),
  "gpt3-medium": size(24, 16, 1024, 2048),
  "gpt3-large": size(24, 16, 1536, 2048),
  "gpt3-xl": size(24, 16, 2048, 2048),
  "gpt3-2.7b": size(32, 32, 2560, 2048),
  "gpt3-6.7b": size(32, 32, 4096, 2048),
  "gpt3-13b": size(40, 40, 5120, 2048),
  "gpt3-175b": size(96, 96, 12288, 2048),
};

export interface Model {
  readonly config: ModelConfig;
  readonly parameters: Parameters;
  /** What is added to its linear layers. */
  readonly adapters: readonly Adapter[];
  /** Sequences of one length -> the last layer's normalised rows [B T, C]. */
  hidden(tokens: Tensor, positions: Tensor, options: HiddenOptions): Tensor;
  /** Rows [N, C] -> logits [N, V]. */
  logits(hidden: Tensor): Tensor;
  /** The cross-entropy of the targets summed, times weight, and what else is told of them; the logits by chunks. */
  loss(hidden: Tensor, targets: Tensor, weight: Tensor, options?: LossOptions): HeadLoss;
}

export interface LossOptions {
  /** What an adapter on the head does not see. */
  readonly dropout?: HiddenOptions["dropout"];
  readonly dft?: boolean | undefined;
}

export interface HiddenOptions {
  /** Tokens in each sequence. */
  readonly length: number;
  /** Applied after the embedding, the attention projection and the MLP, as GPT-2 does it; adapters drop at rates of their own. */
  readonly dropout?: { readonly rate: number; readonly seed: Tensor };
  /** For rows that hold several documents: where in its row each token's document begins. */
  readonly starts?: Tensor | undefined;
  /** Frees each block's activations and computes them again in the backward pass. */
  readonly recompute?: boolean;
  /** How activations are kept for the backward pass. */
  readonly activations?: "f32" | "bf16";
  readonly cache?: Cache;
}

/** Where keys and values go while decoding: one tensor [slots, length, 2 C] a layer. After the pass `layers` holds the new ones. */
export interface Cache extends CachePlaces {
  readonly layers: Tensor[];
  /** Every sequence begins at position 0: its new tokens see each other, and the cache is only written. */
  readonly fresh: boolean;
}

/** Keys and values of `slots` sequences of up to `length` positions, for each layer. */
export function cacheTensors({ layers, width }: ModelConfig, slots: number, length: number): Tensor[] {
  return Array.from({ length: layers }, (_, i) => input(`cache ${i}`, [slots, length, 2 * width]));
}

/** `storage`: all but f32 are to be read and not to be trained. */
export function gpt2(config: ModelConfig, storage: Storage = "f32"): Model {
  return over(config, layOut(specs(config), storage), []);
}

/** The same model over the same weights, with these adapters and no others. Without any it computes what `gpt2` does. */
export function withAdapters({ config, parameters }: Model, adapters: readonly Adapter[]): Model {
  return over(config, parameters, adapters);
}

function over(config: ModelConfig, parameters: Parameters, adapters: readonly Adapter[]): Model {
  const weight = (name: string): Tensor => parameter(parameters, name).tensor;
  const embedding = tableParts(weight("wte.weight"));
  const head = config.tied === false ? tableParts(weight("lm_head.weight")) : embedding;
  const terms = (x: Tensor, options: AdaptOptions = { keep: keepWhole }) => [
    { x, parts: head },
    ...adapters.flatMap((adapter) => {
      const narrow = narrowedInput(adapter, HEAD, x, options);
      if (!narrow) return [];
      return [{ x: narrow, parts: tableParts(parameter(adapter.parameters, `${HEAD}.lora_B.weight`).tensor) }];
    }),
  ];
  return {
    config,
    parameters,
    adapters,
    hidden: (tokens, positions, options) => hidden(config, { weight, embedding, adapters }, tokens, positions, options),
    logits(rows) {
      const [own, ...more] = terms(rows);
      return more.reduce((y, { x, parts }) => addProduct(y, x, parts), project(own!.x, own!.parts));
    },
    loss: (rows, targets, weight, { dropout, dft } = {}) =>
      headLoss(terms(rows, { keep: keepWhole, drop: dropout && headDrop(dropout) }), { targets, weight, dft }),
  };
}

/** Weights N(0, 0.02), those that write to the residual stream smaller by sqrt(2 L), biases 0, norms 1. */
function specs({ vocabulary, context, layers, width: C, tied }: ModelConfig): ParameterSpec[] {
  const matrix = (name: string, shape: number[], std = 0.02): ParameterSpec => ({
    name,
    shape,
    init: { std },
    decay: true,
  });
  const linear = (name: string, shape: number[], std?: number) => ({ ...matrix(name, shape, std), linear: true });
  const vector = (name: string, length: number, value = 0): ParameterSpec => ({
    name,
    shape: [length],
    init: { value },
    decay: false,
  });
  const norm = (name: string) => [vector(`${name}.weight`, C, 1), vector(`${name}.bias`, C)];
  const residualStd = 0.02 / Math.sqrt(2 * layers);
  const block = (h: string) => [
    ...norm(`${h}.ln_1`),
    linear(`${h}.attn.c_attn.weight`, [C, 3 * C]),
    vector(`${h}.attn.c_attn.bias`, 3 * C),
    linear(`${h}.attn.c_proj.weight`, [C, C], residualStd),
    vector(`${h}.attn.c_proj.bias`, C),
    ...norm(`${h}.ln_2`),
    linear(`${h}.mlp.c_fc.weight`, [C, 4 * C]),
    vector(`${h}.mlp.c_fc.bias`, 4 * C),
    linear(`${h}.mlp.c_proj.weight`, [4 * C, C], residualStd),
    vector(`${h}.mlp.c_proj.bias`, C),
  ];
  return [
    matrix("wte.weight", [vocabulary, C]),
    matrix("wpe.weight", [context, C]),
    ...Array.from({ length: layers }, (_, i) => block(`h.${i}`)).flat(),
    ...norm("ln_f"),
    ...(tied === false ? [matrix("lm_head.weight", [vocabulary, C])] : []),
  ];
}

type Weight = (name: string) => Tensor;

interface Weights {
  readonly weight: Weight;
  /** wte, in parts. */
  readonly embedding: readonly TablePart[];
  readonly adapters: readonly Adapter[];
}

/** A stream of its own, apart from those inside the model. */
const headDrop =
  ({ seed }: NonNullable<HiddenOptions["dropout"]>) =>
  (x: Tensor, rate: number) =>
    dropout(x, seed, { rate, stream: 1 << 16 });

function hidden(
  { layers, heads, epsilon }: ModelConfig,
  { weight, embedding, adapters }: Weights,
  tokens: Tensor,
  positions: Tensor,
  options: HiddenOptions,
): Tensor {
  const { length, cache, starts, dropout: drop } = options;
  // A block that is computed again keeps nothing inside.
  const keep = options.activations === "bf16" && !options.recompute ? keepHalf() : keepWhole;
  let streams = 0;
  const dropped = (x: Tensor) => (drop ? dropout(x, drop.seed, { rate: drop.rate, stream: streams++ }) : x);
  const norm = (x: Tensor, name: string) =>
    layerNorm(x, weight(`${name}.weight`), weight(`${name}.bias`), epsilon, keep);
  const adapterDrop = drop && ((x: Tensor, rate: number) => dropout(x, drop.seed, { rate, stream: streams++ }));
  const linear = (x: Tensor, name: string, kept = keep) => {
    const layer = { weight: weight(`${name}.weight`), bias: weight(`${name}.bias`) };
    const product = (x: Tensor, bias?: Tensor) =>
      matmul(x, layer.weight, { transposeB: isQuantised(layer.weight.dtype), keep: kept, ...(bias && { bias }) });
    return adaptedLinear(x, name, layer, adapters, { product, keep: kept, drop: adapterDrop });
  };

  const attend = (x: Tensor, layer: number): Tensor => {
    const qkv = linear(norm(x, `h.${layer}.ln_1`), `h.${layer}.attn.c_attn`);
    if (!cache) return attention(qkv, { tokens: length, heads, starts, keep });
    cache.layers[layer] = cacheAppend(cache.layers[layer]!, qkv, cache, heads);
    if (cache.fresh) return attention(qkv, { tokens: length, heads });
    return attentionCached(qkv, cache.layers[layer]!, cache, heads);
  };
  const block = (x: Tensor, layer: number): Tensor => {
    const h = `h.${layer}`;
    // Attention's own rule needs its output whole.
    const attended = add(x, dropped(linear(attend(x, layer), `${h}.attn.c_proj`, keepWhole)));
    const inner = gelu(linear(norm(attended, `${h}.ln_2`), `${h}.mlp.c_fc`), keep);
    return add(attended, dropped(linear(inner, `${h}.mlp.c_proj`)));
  };

  let x = dropped(add(embed(embedding, tokens), gather(weight("wpe.weight"), positions)));
  for (let layer = 0; layer < layers; layer++) {
    if (!options.recompute) {
      x = block(x, layer);
      continue;
    }
    const first = streams;
    const again = (x: Tensor) => {
      streams = first; // the second computation draws the same dropout masks
      return block(x, layer);
    };
    x = recompute(again, x, ...blockWeights(weight, layer), ...adapterWeights(adapters, layer));
  }
  return norm(x, "ln_f");
}

function blockWeights(weight: Weight, layer: number): Tensor[] {
  const names = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"];
  return names.flatMap((name) => ["weight", "bias"].map((part) => weight(`h.${layer}.${name}.${part}`)));
}

function adapterWeights(adapters: readonly Adapter[], layer: number): Tensor[] {
  const inBlock = ({ name }: { readonly name: string }) => name.startsWith(`h.${layer}.`);
  return adapters.flatMap(({ parameters }) => parameters.list.filter(inBlock).map(({ tensor }) => tensor));
}
