/** The published comparison of a model with an adapter: it is the adapted model that is compared. */
import { expect, test } from "bun:test";
import { publishedLogits } from "../../src/eval/published";
import { adapterOf, mergeInto, targeted } from "../../src/model/lora";
import { modelOf, withAdapters } from "../../src/model/model";
import { initialise, parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { device } from "../support/device";
import { largestError } from "../support/oracle";

test("the logits are those of the model with its adapter, as merged", () => {
  const model = modelOf({ type: "gpt2", vocabulary: 23100, context: 4, layers: 1, heads: 1, width: 4, epsilon: 1e-5 });
  const values = initialise(model.parameters, 3).map((v) => 10 * v);
  const settings = { rank: 2, alpha: 4, dropout: 0, rslora: false, dora: false };
  const adapter = adapterOf(targeted(model.modules, ["all-linear"]), settings);
  const added = Float32Array.from({ length: adapter.parameters.size }, (_, i) => Math.sin(i));
  using weights = new Slab(device("cpu"), model.parameters, { values });
  using slab = new Slab(device("cpu"), adapter.parameters, { values: added });
  using merged = new Slab(device("cpu"), model.parameters, { values });
  for (const module of model.modules.filter(({ name }) => adapter.ranks.has(name))) {
    const place = parameter(model.parameters, `${module.name}.weight`);
    const matrix = weights.read(place);
    mergeInto(matrix, module, { adapter, values: (name) => slab.read(parameter(adapter.parameters, name)) });
    merged.write(place, matrix);
  }
  const adapted = publishedLogits(device("cpu"), { model: withAdapters(model, [adapter]), slabs: [weights, slab] });
  const plain = publishedLogits(device("cpu"), { model, slabs: [weights] });
  expect(adapted).toHaveLength(4 * 23100);
  expect(largestError(adapted, publishedLogits(device("cpu"), { model, slabs: [merged] }))).toBeLessThan(1e-5);
  expect(largestError(plain, adapted)).toBeGreaterThan(0.1);
});
