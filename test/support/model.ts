/** Small models on the test device. */

import type { ModelConfig } from "../../src/model/architecture";
import { type Model, modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { device } from "./device";

export const toy: ModelConfig = {
  type: "gpt2",
  vocabulary: 50,
  context: 32,
  layers: 2,
  heads: 2,
  width: 16,
  epsilon: 1e-5,
};

/** A model with weights ten times as large as an initialisation's, so that its choices are far apart. */
export function toyModel(
  config: ModelConfig = toy,
  seed = 3,
  on = device(),
): { model: Model; weights: Slab; slabs: readonly Slab[]; values: Float32Array } & Disposable {
  const model = modelOf(config);
  const values = initialise(model.parameters, seed);
  for (const { offset, size, decay } of model.parameters.list)
    if (decay) for (let i = offset; i < offset + size; i++) values[i]! *= 10;
  const weights = new Slab(on, model.parameters, { values });
  return { model, weights, slabs: [weights], values, [Symbol.dispose]: () => weights[Symbol.dispose]() };
}
