/** A small training step, on the device and in float64: whether what the device computes is right. */

import { gradients } from "../autograd/gradients";
import { interpret } from "../autograd/interpret";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { modelOf } from "../model/model";

import { nextToken } from "../model/next-token";
import { initialise } from "../model/parameters";
import type { Tensor } from "../tensor/tensor";

/** The largest error of loss and gradients, relative to each tensor's largest value. */
export function checkDevice(device: Device): number {
  const model = modelOf({ type: "gpt2", vocabulary: 40, context: 8, layers: 1, heads: 2, width: 16, epsilon: 1e-5 });
  const weights = initialise(model.parameters, 1);
  const T = 8;
  const { tokens, positions, targets, weight, loss, rowPositions } = nextToken(model, { rows: 2, length: T });
  const parameters = model.parameters.list.map(({ tensor }) => tensor);
  const outputs = [loss, ...gradients(loss, parameters)].filter((x): x is Tensor => x !== null);
  const feeds = new Map<Tensor, Float64Array>([
    [tokens, Float64Array.from({ length: 2 * T }, (_, i) => (i * 7) % 40)],
    [targets, Float64Array.from({ length: 2 * T }, (_, i) => (i * 11 + 3) % 40)],
    [positions, Float64Array.from(rowPositions)],
    [weight, Float64Array.of(1 / (2 * T))],
    ...model.parameters.list.map(
      ({ tensor, offset, size }) => [tensor, Float64Array.from(weights.subarray(offset, offset + size))] as const,
    ),
  ]);
  using program = new Program(device, outputs);
  for (const [tensor, values] of feeds)
    program.feed(tensor, tensor.dtype === "u32" ? Uint32Array.from(values) : Float32Array.from(values));
  program.run();
  const wanted = interpret(outputs, feeds);
  return Math.max(...outputs.map((output, i) => errorOf(program.read(output), wanted[i]!)));
}

function errorOf(got: Float32Array, wanted: Float64Array): number {
  const largest = wanted.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const error = wanted.reduce(
    (a, b, i) => Math.max(a, Number.isFinite(got[i]!) ? Math.abs(got[i]! - b) : Number.POSITIVE_INFINITY),
    0,
  );
  return largest === 0 ? error : error / largest;
}
