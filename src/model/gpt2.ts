/**
 * GPT-2: sizes, weights, initialisation and forward pass. Pre-layer-norm blocks, tanh GELU, learned positions, head
 * tied to the token embedding (https://cdn.openai.com/better-language-models/language_models.pdf, section 2.3). Weights
 * have the names and shapes of Hugging Face's checkpoints; Conv1D weights lie [in, out].
 */
import { recompute } from "../autograd/recompute";
import { add, addTo } from "../ops/add";
import { attention } from "../ops/attention";
import { attentionCached, cacheAppend } from "../ops/attention-decode";
import { dropout } from "../ops/dropout";
import { gather } from "../ops/gather";
import { gelu } from "../ops/gelu";
import { layerNorm } from "../ops/layer-norm";
import { keepHalf, keepWhole } from "../ops/store";
import type { Tensor } from "../tensor/tensor";
import type { Architecture, HiddenOptions, Layers, ModelConfig, Module } from "./architecture";
import { fromJson, toJson } from "./gpt2-config";
import type { ParameterSpec } from "./parameters";

const size = (layers: number, heads: number, width: number, context: number) => ({
  type: "gpt2",
  layers,
  heads,
  width,
  context,
});

/**
 * GPT-2's: https://huggingface.co/openai-community. GPT-3's eight: https://arxiv.org/abs/2005.14165, table 2.1; where
 * its heads times its head size differ from its width (XL, 13B), heads of 128 channels that fill the width are used.
 */
const presets = {
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

export const gpt2: Architecture = {
  type: "gpt2",
  presets,
  specs,
  modules,
  embedding: "wte.weight",
  hidden,
  fromJson,
  toJson,
  files: { prefix: "transformer.", passedOver: /^(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)$/ },
};

/** Weights N(0, 0.02), those that write to the residual stream smaller by sqrt(2 L), biases 0, norms 1. */
function specs({ vocabulary, context, layers, width: C }: ModelConfig): ParameterSpec[] {
  const matrix = (name: string, shape: number[], std = 0.02): ParameterSpec => ({
    name,
    shape,
    init: { std },
    decay: true,
  });
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
    matrix(`${h}.attn.c_attn.weight`, [C, 3 * C]),
    vector(`${h}.attn.c_attn.bias`, 3 * C),
    matrix(`${h}.attn.c_proj.weight`, [C, C], residualStd),
    vector(`${h}.attn.c_proj.bias`, C),
    ...norm(`${h}.ln_2`),
    matrix(`${h}.mlp.c_fc.weight`, [C, 4 * C]),
    vector(`${h}.mlp.c_fc.bias`, 4 * C),
    matrix(`${h}.mlp.c_proj.weight`, [4 * C, C], residualStd),
    vector(`${h}.mlp.c_proj.bias`, C),
  ];
  return [
    matrix("wte.weight", [vocabulary, C]),
    matrix("wpe.weight", [context, C]),
    ...Array.from({ length: layers }, (_, i) => block(`h.${i}`)).flat(),
    ...norm("ln_f"),
  ];
}

function modules({ layers, width: C }: ModelConfig): Module[] {
  const block = (h: string): Module[] => [
    { name: `${h}.attn.c_attn`, inputs: C, outputs: 3 * C },
    { name: `${h}.attn.c_proj`, inputs: C, outputs: C },
    { name: `${h}.mlp.c_fc`, inputs: C, outputs: 4 * C },
    { name: `${h}.mlp.c_proj`, inputs: 4 * C, outputs: C },
  ];
  return Array.from({ length: layers }, (_, i) => block(`h.${i}`)).flat();
}

function hidden(
  { layers, heads, epsilon }: ModelConfig,
  { weight, embed, linear }: Layers,
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
  const project = (x: Tensor, name: string, kept = keep) => linear(x, name, { keep: kept, drop: adapterDrop });

  const attend = (x: Tensor, layer: number): Tensor => {
    const qkv = project(norm(x, `h.${layer}.ln_1`), `h.${layer}.attn.c_attn`);
    if (!cache) return attention(qkv, { tokens: length, heads, starts, keep });
    cache.layers[layer] = cacheAppend(cache.layers[layer]!, qkv, cache, heads);
    if (cache.fresh) return attention(qkv, { tokens: length, heads });
    return attentionCached(qkv, cache.layers[layer]!, cache, heads);
  };
  const block = (x: Tensor, layer: number): Tensor => {
    const h = `h.${layer}`;
    // Attention's own rule needs its output whole.
    const attended = addTo(x, dropped(project(attend(x, layer), `${h}.attn.c_proj`, keepWhole)));
    const inner = gelu(project(norm(attended, `${h}.ln_2`), `${h}.mlp.c_fc`), keep);
    return addTo(attended, dropped(project(inner, `${h}.mlp.c_proj`)));
  };

  let x = dropped(add(embed(tokens), gather(weight("wpe.weight"), positions)));
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
    x = recompute(again, x);
  }
  return norm(x, "ln_f");
}
