/** From tokens to scores: the scalar head at each sequence's last token. The one way there is, in training and in scoring. */
import { gather } from "../ops/gather";
import { input, type Tensor } from "../tensor/tensor";
import type { HiddenOptions } from "./architecture";
import type { Model } from "./model";

export interface ToScore {
  /** [R T] (u32), row after row. */
  readonly tokens: Tensor;
  readonly positions: Tensor;
  /** [R] (u32): where each row's last token stands. */
  readonly ends: Tensor;
}

export function scoreInputs(rows: number, length: number): ToScore {
  const of = (name: string, size: number) => input(name, [size], "u32");
  return { tokens: of("tokens", rows * length), positions: of("positions", rows * length), ends: of("ends", rows) };
}

/** [R]: raw, as the head gives them. */
export function scores(
  model: Model,
  { tokens, positions, ends }: ToScore,
  options: Omit<HiddenOptions, "cache" | "starts" | "dropout">,
): Tensor {
  return model.scores(gather(model.hidden(tokens, positions, options), ends));
}
