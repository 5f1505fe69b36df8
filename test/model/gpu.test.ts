/** A model trains and writes on the kernels of GPUs as it does on the CPU device. */
import { describe, expect, test } from "bun:test";
import { trainingStep } from "../../src/app/training-step";
import { withTraits } from "../../src/device/device";
import { Engine } from "../../src/generate/engine";
import { sampling } from "../../src/generate/sampling";
import { modelOf } from "../../src/model/model";
import { initialise } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { device, gpuForms } from "../support/device";
import { largestError } from "../support/oracle";

describe.each(Object.entries(gpuForms))("as a %s", (_name, traits) => {
  const gpu = () => withTraits(device("adapter"), traits);

  test("three steps change the weights as on the CPU", () => {
    const size = { preset: "micro", rows: 2, length: 40, vocabulary: 301 };
    const [there, here] = [gpu(), device("cpu")].map((on) => {
      using step = trainingStep(on, size);
      for (let i = 0; i < 3; i++) step.run();
      return step.weights();
    });
    expect(largestError(there!, here!)).toBeLessThan(2e-4);
  });

  test("greedy decoding writes what the CPU writes", () => {
    const config = { type: "gpt2", layers: 2, heads: 4, width: 64, context: 96, vocabulary: 97, epsilon: 1e-5 };
    const options = sampling.parse({ temperature: 0, maxTokens: 24 });
    const prompts = [[1, 2, 3], [4], Array.from({ length: 50 }, (_, i) => (7 * i) % 97)];
    const [there, here] = [gpu(), device("cpu")].map((on) => {
      const model = modelOf(config);
      using weights = new Slab(on, model.parameters, { values: initialise(model.parameters, 1).map((w) => 4 * w) });
      using engine = new Engine(on, model, [weights]);
      return [...engine.generate(prompts, options)].map((column) => [...column]);
    });
    expect(there).toEqual(here!);
  });
});
