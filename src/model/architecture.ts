/** What a kind of model must say: its sizes, its weights, its forward pass. All else about models is the same for every kind. */
import { UserError } from "../errors";
import type { CachePlaces } from "../ops/attention-decode";
import type { Keep } from "../ops/store";
import { input, type Tensor } from "../tensor/tensor";
import type { ParameterSpec } from "./parameters";
import type { Quantisation } from "./quantised";

/** The sizes that every kind has; an architecture may add its own. */
export interface ModelConfig {
  /** Which architecture: `model_type` in config.json. */
  readonly type: string;
  /** Tokens in the vocabulary. */
  readonly vocabulary: number;
  /** The longest sequence. */
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  /** Channels of the residual stream. */
  readonly width: number;
  readonly epsilon: number;
  /** false: the head has a table of its own, lm_head.weight, instead of the token embedding. */
  readonly tied?: boolean;
  /** A head of one number a position beside the language head, which is then tied: `score.weight` [1, C]. */
  readonly scalar?: boolean;
  /** How its linear layers are stored in its files, where that is not in float32; its tables are then in int8. */
  readonly quantised?: Quantisation;
}

/** More are refused before anything is made for them. */
export const MOST_LAYERS = 1024;
export const MOST_WIDTH = 1 << 16;
/** A smaller one is lost beside a variance in float32, and one that is nothing there divides by it. */
export const LEAST_EPSILON = 1e-12;

export interface Architecture {
  /** config.json's `model_type`. */
  readonly type: string;
  readonly presets: Readonly<Record<string, Pick<ModelConfig, "type" | "layers" | "heads" | "width" | "context">>>;
  /** Every weight but those of the heads, in the order of the files. */
  specs(config: ModelConfig): ParameterSpec[];
  /** Every linear layer but the head: for adapters, quantisation and files. Its matrix is `NAME.weight`, its bias `NAME.bias`. */
  modules(config: ModelConfig): Module[];
  /** The token embedding, to which the head may be tied: [V, C]. */
  readonly embedding: string;
  /** Sequences of one length -> the last layer's normalised rows [B T, C]. */
  hidden(config: ModelConfig, layers: Layers, tokens: Tensor, positions: Tensor, options: HiddenOptions): Tensor;
  /** Reads config.json. Throws a UserError that begins with `where` for what this architecture does not do. */
  fromJson(json: Readonly<Record<string, unknown>>, where: string): ModelConfig;
  /** config.json, with every key that transformers reads. */
  toJson(config: ModelConfig, tokens: SpecialTokens): Record<string, unknown>;
  /** How its files differ from its weights' names. */
  readonly files: {
    /** What transformers writes before the names of all but the heads. */
    readonly prefix: string;
    /** Tensors that are no weights, such as the masks that older versions kept. */
    readonly passedOver: RegExp;
  };
}

/** What config.json says of a tokenizer. */
export interface SpecialTokens {
  readonly endOfText: number | null;
  /** What rows may be padded with: transformers reads a score at the last token that is another. */
  readonly padding: number | null;
}

/** A linear layer: its name, and its sizes. */
export interface Module {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
}

/** The output head, as a layer that can be adapted. */
export const HEAD = "lm_head";
/** The scalar head's only weight. */
export const SCORE = "score.weight";

/** Its first values, as of the first reward models on GPT-2 (https://arxiv.org/abs/1909.08593): N(0, 1 / (width + 1)). */
export function scoreSpec(width: number): ParameterSpec {
  return { name: SCORE, shape: [1, width], init: { std: 1 / Math.sqrt(width + 1) }, decay: true };
}

/** The weights as a forward pass uses them. */
export interface Layers {
  weight(name: string): Tensor;
  /** The embedding's rows of these tokens: [N] -> [N, C]. */
  embed(tokens: Tensor): Tensor;
  /** x W + b, however W is stored, with what adapters add. */
  linear(x: Tensor, name: string, options: LinearOptions): Tensor;
}

export interface LinearOptions {
  readonly keep: Keep;
  /** Drops inputs of adapters, each at its own rate; absent outside training. */
  readonly drop?: ((x: Tensor, rate: number) => Tensor) | undefined;
}

export interface HiddenOptions {
  /** Tokens in each sequence. */
  readonly length: number;
  /** Applied where the architecture drops; adapters drop at rates of their own. */
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

/** Heads must share the width out, in vec4s. */
export function checkHeads({ width, heads }: Pick<ModelConfig, "width" | "heads">, where: string): void {
  if (width % (4 * heads) === 0) return;
  throw new UserError(`${where}: width ${width} is not a multiple of 4 times ${heads} heads`, {
    hint: `use a width such as ${Math.max(1, Math.round(width / 4 / heads)) * 4 * heads}`,
    exitCode: 2,
  });
}
