/** The whole model against PyTorch: test/golden/gpt2.py wrote logits, loss, gradients and ten AdamW steps. */

import { expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { modelOf } from "../../src/model/model";
import { nll } from "../../src/model/row-losses";

import { Slab } from "../../src/model/slab";
import { IGNORE } from "../../src/ops";
import { Optimizer } from "../../src/optim/optimizer";
import { input, type Tensor } from "../../src/tensor/tensor";
import { trainingProgram } from "../../src/train/program";
import golden from "../golden/gpt2.json";
import { device, onEachDevice } from "../support/device";
import { largestError } from "../support/oracle";

const TOLERANCE = 1e-4;
type Packed = Record<string, { shape: number[]; f32: string }>;
const floats = ({ f32 }: { f32: string }) =>
  new Float32Array(Uint8Array.from(atob(f32), (c) => c.charCodeAt(0)).buffer);

const { batch, settings } = golden;
const config = { type: "gpt2", ...golden.config };
const model = modelOf(config);
const size = batch.rows * batch.length;
const values = new Float32Array(model.parameters.size);
for (const { name, offset } of model.parameters.list) values.set(floats((golden.weights as Packed)[name]!), offset);

const tokens = input("tokens", [size], "u32");
const positions = input("positions", [size], "u32");
const targets = input("targets", [size], "u32");
const weight = input("weight", [1]);
const hidden = model.hidden(tokens, positions, { length: batch.length });
const logits = model.logits(hidden);
const { loss, sums } = model.loss(hidden, nll(targets), weight);
const labels = golden.targets.map((id) => (id < 0 ? IGNORE : id));
const fed: [Tensor, Uint32Array | Float32Array][] = [
  [tokens, Uint32Array.from(golden.tokens)],
  [targets, Uint32Array.from(labels)],
  [positions, Uint32Array.from({ length: size }, (_, i) => i % batch.length)],
  [weight, new Float32Array([1 / golden.targets.filter((id) => id >= 0).length])],
];

test("the parameters have the names and shapes of Hugging Face's GPT-2", () => {
  expect(model.parameters.list.map(({ name }) => name).sort()).toEqual(Object.keys(golden.weights).sort());
  expect(model.parameters.list.map(({ name, shape }) => [name, shape])).toEqual(
    model.parameters.list.map(({ name }) => [name, (golden.weights as Packed)[name]!.shape]),
  );
});

onEachDevice(() => {
  test("logits, loss and every gradient agree with PyTorch, on the device and in float64", () => {
    const list = model.parameters.list;
    const grads = gradients(
      loss,
      list.map(({ tensor }) => tensor),
    ) as Tensor[];
    using weights = new Slab(device(), model.parameters, { values });
    using program = new Program(device(), [logits, loss, ...grads], { bind: weights.bind() });
    for (const [tensor, data] of fed) program.feed(tensor, data);
    program.run();
    const feeds = new Map<Tensor, Float64Array>([
      ...fed.map(([tensor, data]) => [tensor, Float64Array.from(data)] as const),
      ...list.map(
        ({ tensor, offset, size }) => [tensor, Float64Array.from(values.subarray(offset, offset + size))] as const,
      ),
    ]);
    const exact = interpret([logits, loss, ...grads], feeds);
    const wanted = [
      floats(golden.logits),
      new Float32Array([golden.losses[0]!]),
      ...list.map(({ name }) => floats((golden.gradients as Packed)[name]!)),
    ];
    [logits, loss, ...grads].forEach((tensor, i) => {
      const name = list[i - 2]?.name ?? tensor.name;
      expect(largestError(program.read(tensor), wanted[i]!), `${name} on the device`).toBeLessThan(TOLERANCE);
      expect(largestError(exact[i]!, wanted[i]!), `${name} in float64`).toBeLessThan(TOLERANCE);
    });
  });

  test("ten AdamW steps with clipping agree with PyTorch", () => {
    using weights = new Slab(device(), model.parameters, { values });
    using optimizer = new Optimizer(device(), [{ weights }], settings);
    using program = trainingProgram(device(), { loss, sums }, { trained: [{ weights }], optimizer });
    for (const [tensor, data] of fed) program.feed(tensor, data);
    golden.losses.forEach((wanted, step) => {
      optimizer.zero();
      program.run();
      optimizer.update(settings.lr, step);
      const { norm, badStep, sums } = optimizer.read();
      expect(badStep).toBeNull();
      expect(Math.abs(sums[0]! - wanted) / wanted, `loss of step ${step}`).toBeLessThan(TOLERANCE);
      expect(Math.abs(norm - golden.norms[step]!) / golden.norms[step]!, `norm of step ${step}`).toBeLessThan(
        TOLERANCE,
      );
    });
    const final = weights.download();
    for (const { name, offset, size } of model.parameters.list) {
      const wanted = floats((golden.finalWeights as Packed)[name]!);
      const got = final.slice(offset, offset + size);
      // A bias of the keys shifts all scores of a query alike and changes nothing: its gradient is rounding noise round zero,
      // which Adam scales up to steps of the learning rate, in PyTorch as here.
      if (name.endsWith("c_attn.bias")) for (const part of [got, wanted]) part.fill(0, size / 3, (2 * size) / 3);
      expect(largestError(got, wanted), name).toBeLessThan(TOLERANCE);
    }
  });
});
