/** A smaller model of the same kind whose layers are some of a larger one's (DistilBERT, https://arxiv.org/abs/1910.01108, section 2). */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { ModelConfig } from "./architecture";
import { fitted, type Model, modelOf } from "./model";
import { parameter } from "./parameters";
import { Slab } from "./slab";

/** Which layers of `from` become the `count` of the smaller: round(i (from - 1) / (count - 1)), so that the first and the last are among them. */
export function spreadLayers(count: number, from: number): number[] {
  return Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.round((i * (from - 1)) / (count - 1))));
}

/** The layers that are meant: so many, or these. Throws a UserError where there are none such. */
export function layerMap(layers: number | readonly number[], { layers: from }: ModelConfig): readonly number[] {
  const map = typeof layers === "number" ? spreadLayers(layers, from) : layers;
  const missing = map.find((layer) => layer >= from);
  if (missing !== undefined || map.length > from)
    throw new UserError(
      missing === undefined
        ? `the teacher has ${from} layers, and the student is to have ${map.length} of them`
        : `the teacher has layers 0 to ${from - 1}, and none is ${missing}`,
      { hint: "layers: how many, or a list of the teacher's", exitCode: 2 },
    );
  return map;
}

export function withLayers({ quantised: _, ...config }: ModelConfig, map: readonly number[]): ModelConfig {
  return { ...config, layers: map.length };
}

/** Layer i of the copy is layer `map[i]` of the original; all else is copied as it is. */
export function copyLayers(
  device: Device,
  from: { readonly model: Model; readonly weights: Slab },
  map: readonly number[],
): { readonly model: Model; readonly weights: Slab } {
  const model = fitted(modelOf(withLayers(from.model.config, map)), device);
  const values = new Float32Array(model.parameters.size);
  for (const { name, offset } of model.parameters.list) {
    const source = name.replace(/^h\.(\d+)\./, (_, layer: string) => `h.${map[Number(layer)]}.`);
    values.set(from.weights.read(parameter(from.model.parameters, source)), offset);
  }
  return { model, weights: new Slab(device, model.parameters, { values }) };
}
