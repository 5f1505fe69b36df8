/** Kernels of the CPU device write their output alone, and nothing that lies behind a row finds its way into it. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { vectorsOf } from "../../src/device/cpu/vectors";
import { attention, crossEntropy, gelu, layerNorm } from "../../src/ops";
import { input, type Tensor } from "../../src/tensor/tensor";
import { GuardedCpu } from "../support/guarded";
import { largestError, sample } from "../support/oracle";
import { worstOf } from "../support/random-products";

describe.each(vectorsOf() === "native" ? (["native", "wasm"] as const) : (["wasm"] as const))("by %s", (vectors) => {
  test("products of random shapes", () => {
    using device = new GuardedCpu(2, vectors);
    const { error, shape } = worstOf([device], { count: 60, seed: 23 });
    expect(error, shape).toBeLessThan(5e-7);
    expect(device.strayed).toEqual([]);
  });

  const forms: [string, (n: number) => { xs: Tensor[]; y: Tensor }][] = [
    [
      "gelu",
      (n) => {
        const x = input("x", [3, n]);
        return { xs: [x], y: gelu(x) };
      },
    ],
    [
      "layer norm",
      (n) => {
        const xs = [input("x", [3, n + 3]), input("scale", [n + 3]), input("shift", [n + 3])] as const;
        return { xs: [...xs], y: layerNorm(...xs) };
      },
    ],
    [
      "cross-entropy",
      (n) => {
        const x = input("x", [2, n]);
        return { xs: [x], y: crossEntropy(x, input("ids", [2], "u32")) };
      },
    ],
    [
      "attention",
      (n) => {
        const x = input("x", [n, 24]);
        return { xs: [x], y: attention(x, { tokens: n, heads: 2 }) };
      },
    ],
  ];
  test.each(forms)("%s and its gradients", (_name, form) => {
    using device = new GuardedCpu(2, vectors);
    for (const n of [1, 2, 3, 5, 8, 9, 17, 33, 97]) {
      const { xs, y } = form(n);
      const dy = input("dy", y.shape);
      const outputs = [y, ...gradients(y, xs, { seed: dy }).filter((grad) => grad !== null)];
      const fed = new Map(
        [...xs, dy].map((x, i) => [
          x,
          sample(
            x.shape.reduce((a, b) => a * b, 1),
            n + i,
          ),
        ]),
      );
      using program = new Program(device, outputs);
      for (const [x, values] of fed) program.feed(x, Float32Array.from(values));
      for (const ids of y.inputs.filter(({ dtype }) => dtype === "u32")) {
        fed.set(ids, new Float64Array([0, n - 1]));
        program.feed(ids, Uint32Array.of(0, n - 1));
      }
      program.run();
      const wanted = interpret(outputs, fed);
      outputs.forEach((output, i) => {
        expect(largestError(program.read(output), wanted[i]!), `${n}, output ${i}`).toBeLessThan(2e-5);
      });
    }
    expect(device.strayed).toEqual([]);
  });
});
