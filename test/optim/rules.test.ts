/** Lion and Muon: against PyTorch's in float64, what goes by AdamW, bad steps, and where the time goes. */
import { describe, expect, test } from "bun:test";
import { interpret } from "../../src/autograd/interpret";
import { parameter } from "../../src/model/parameters";
import { newtonSchulz } from "../../src/optim/muon";
import { Optimizer, type OptimizerOptions } from "../../src/optim/optimizer";
import { input } from "../../src/tensor/tensor";
import golden from "../golden/optimizers.json";
import { device, onEachDevice } from "../support/device";
import { toyModel } from "../support/model";

const base: OptimizerOptions = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: golden.decay, clip: 0 };

/** The toy model's weights after three steps; weights and gradients as in the golden file. `gradient`: of step s, element i. */
function afterThree(
  options: OptimizerOptions,
  gradient = (i: number, step: number) => Math.cos(0.7 * i + step),
): { of(name: string): Float32Array; readonly badStep: number | null } & Disposable {
  const made = toyModel(undefined, 3, device());
  const { model, weights } = made;
  for (const p of model.parameters.list)
    weights.write(
      p,
      Float32Array.from({ length: p.size }, (_, i) => 0.1 * Math.sin(1.3 * i)),
    );
  const optimizer = new Optimizer(device(), [{ weights }], options);
  for (let step = 0; step < 3; step++) {
    optimizer.zero();
    for (const p of model.parameters.list)
      optimizer.gradients[0]!.write(
        p,
        Float32Array.from({ length: p.size }, (_, i) => gradient(i, step)),
      );
    optimizer.update(golden.lr, step);
  }
  const { badStep } = optimizer.read();
  return {
    of: (name) => weights.read(parameter(model.parameters, name)),
    badStep,
    [Symbol.dispose]() {
      optimizer[Symbol.dispose]();
      made[Symbol.dispose]();
    },
  };
}

function far(got: Float32Array, wanted: ArrayLike<number>): number {
  return got.reduce((most, v, i) => Math.max(most, Math.abs(v - wanted[i]!)), 0);
}

onEachDevice(() => {
  test.each([
    ["h.1.attn.c_attn.weight", 0],
    ["h.0.attn.c_proj.weight", 1],
    ["h.1.mlp.c_fc.weight", 2],
    ["h.0.mlp.c_proj.weight", 3],
  ] as const)("Muon's %s is PyTorch's", (name, at) => {
    using made = afterThree({ ...base, kind: "muon" });
    // Five iterations multiply an error of float32 by some hundreds.
    expect(far(made.of(name), golden.muon[at]!.weights)).toBeLessThan(2e-5);
  });
  test("what is no linear layer's matrix goes by AdamW under Muon", () => {
    using muon = afterThree({ ...base, kind: "muon" });
    using adamw = afterThree(base);
    for (const name of ["wte.weight", "wpe.weight", "h.0.ln_1.weight", "h.1.attn.c_attn.bias", "ln_f.bias"])
      expect(muon.of(name)).toEqual(adamw.of(name));
    expect(far(muon.of("h.0.mlp.c_fc.weight"), adamw.of("h.0.mlp.c_fc.weight"))).toBeGreaterThan(1e-3);
  });
  test("Lion's matrix is PyTorch's, and biases do not decay", () => {
    using made = afterThree({ ...base, kind: "lion" });
    expect(far(made.of("h.0.attn.c_attn.weight"), golden.lion[0]!.weights)).toBeLessThan(1e-6);
    using plain = afterThree({ ...base, kind: "lion", weightDecay: 0 });
    expect(made.of("h.0.mlp.c_fc.bias")).toEqual(plain.of("h.0.mlp.c_fc.bias"));
    expect(made.of("h.0.mlp.c_fc.weight")).not.toEqual(plain.of("h.0.mlp.c_fc.weight"));
  });
  test.each(["lion", "muon"] as const)("%s changes nothing from a bad step on", (kind) => {
    using bad = afterThree({ ...base, kind }, (i, step) =>
      step === 1 && i === 5 ? Number.NaN : Math.cos(0.7 * i + step),
    );
    expect(bad.badStep).toBe(1);
    const { of } = bad;
    for (const name of ["wte.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_proj.weight", "ln_f.bias"])
      expect(of(name).every(Number.isFinite)).toBe(true);
  });
  test.each(["lion", "muon"] as const)("%s goes by clipped gradients", (kind) => {
    using clipped = afterThree({ ...base, kind, clip: 1 }, (i, step) => 1000 * Math.cos(0.7 * i + step));
    using plain = afterThree({ ...base, kind, clip: 1 });
    expect(far(clipped.of("h.0.mlp.c_fc.weight"), plain.of("h.0.mlp.c_fc.weight"))).toBeLessThan(1e-5);
  });
});

describe("five iterations", () => {
  test.each([
    [4, 9],
    [9, 4],
    [6, 6],
  ])("bring the singular values of [%i, %i] near to 1", (rows, columns) => {
    const x = input("x", [rows, columns]);
    const values = Float64Array.from({ length: rows * columns }, (_, i) => Math.sin(3 * i * i + i) + 0.1 * i);
    const y = interpret([newtonSchulz(x)], new Map([[x, values]]))[0]!;
    // Of y y^T or y^T y, whichever is smaller, the trace is the sum of their squares.
    const trace = y.reduce((sum, v) => sum + v * v, 0);
    const least = Math.min(rows, columns);
    expect(trace / least).toBeGreaterThan(0.4);
    expect(trace / least).toBeLessThan(1.5);
  });
});
