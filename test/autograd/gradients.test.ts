/** Where gradients go, and that none is lost in silence. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { recompute } from "../../src/autograd/recompute";
import { add, gelu, matmul, rowSum, scale, sum } from "../../src/ops";
import { sizeOf } from "../../src/tensor/shape";
import { input, type Tensor, tensor, view } from "../../src/tensor/tensor";
import { cpuKinds, device } from "../support/device";
import { checkGradient, compare, largestError, sample } from "../support/oracle";

describe("a rule that is missing", () => {
  const ruleless = (x: Tensor) =>
    tensor({
      name: "ruleless",
      shape: x.shape,
      inputs: [x],
      reference: (x) => x,
      dispatch: () => {
        throw new Error("never launched");
      },
    });

  test("is an error that names the node, where a target needs it", () => {
    const x = input("x", [4]);
    expect(() => gradients(sum(gelu(ruleless(gelu(x)))), [x])).toThrow(
      "a gradient reaches ruleless [4], which has no rule",
    );
  });
  test("is none where no target does", () => {
    const [x, y] = [input("x", [4]), input("y", [4])];
    const [dx] = gradients(add(x, ruleless(y)), [x]);
    expect([...interpret([dx!], new Map([[x, sample(4, 1)]]))[0]!]).toEqual([1, 1, 1, 1]);
  });
  test("and one that forgets an input or gives another shape is told too", () => {
    const [x, y] = [input("x", [4]), input("y", [4])];
    const forgetful = tensor({ name: "forgetful", shape: [4], inputs: [x, y], vjp: (grad) => [grad] });
    expect(() => gradients(forgetful, [x])).toThrow("the rule of forgetful gives 1 gradients for 2 inputs");
    const wrong = tensor({ name: "wrong", shape: [1], inputs: [x], vjp: (grad) => [grad] });
    expect(() => gradients(wrong, [x])).toThrow("the rule of wrong gives [1] as the gradient of x [4]");
  });
});

describe("views", () => {
  test("have gradients at any offset, also where they overlap", () => {
    checkGradient((x) => add(view(x!, [2, 32], { offset: 64 }), scale(view(x!, [2, 32], { offset: 128 }), 3)), [[200]]);
    checkGradient((x) => add(gelu(view(x!, [100], { offset: 64 })), view(x!, [100])), [[200]]);
    checkGradient((x) => rowSum(view(gelu(view(x!, [96], { offset: 64 })), [4, 24])), [[3, 64]]);
  });

  const forms: [string, (x: Tensor) => Tensor][] = [
    ["parts apart", (x) => add(sum(gelu(view(x, [64]))), sum(view(x, [64], { offset: 128 })))],
    ["the same part twice", (x) => add(sum(gelu(view(x, [64]))), sum(scale(view(x, [64]), 2)))],
    ["parts that overlap", (x) => add(sum(gelu(view(x, [128]))), sum(gelu(view(x, [128], { offset: 64 }))))],
    ["one part under two shapes", (x) => add(sum(gelu(view(x, [8, 8]))), sum(view(x, [64])))],
    ["a part, and the whole", (x) => add(sum(gelu(x)), sum(gelu(view(x, [64], { offset: 64 }))))],
  ];
  test.each(forms)("of a parameter add onto its slab: %s", (_name, f) => {
    const [x, slab] = [input("x", [192]), input("slab", [192])];
    const [plain] = gradients(f(x), [x]) as [Tensor];
    const feeds = new Map([[x, sample(192, 1)]]);
    const wanted = interpret([plain], feeds)[0]!.map((v, i) => v + i);
    const [onto] = gradients(f(x), [x], { into: new Map([[x, slab]]) }) as [Tensor];
    const before = Float64Array.from({ length: 192 }, (_, i) => i);
    const [got] = interpret([onto], new Map([...feeds, [slab, before]]));
    expect(Math.max(...got!.map((v, i) => Math.abs(v - wanted[i]!)))).toBeLessThan(1e-12);
    for (const kind of ["adapter" as const, ...cpuKinds]) {
      using program = new Program(device(kind), [onto]);
      program.feed(x, Float32Array.from(sample(192, 1)));
      program.feed(slab, Float32Array.from(before));
      program.run();
      const error = Math.max(...program.read(slab).map((v, i) => Math.abs(v - wanted[i]!)));
      expect(error).toBeLessThan(1e-4);
    }
  });
});

describe("recompute", () => {
  const weights = [input("a", [6, 6]), input("b", [6, 6])] as const;
  const x = input("x", [4, 6]);
  const block = (x: Tensor) => gelu(matmul(gelu(matmul(x, weights[0])), weights[1]));
  const targets = [...weights, x];
  const feeds = new Map(targets.map((t, i) => [t, sample(sizeOf(t.shape), i)]));

  test("gives the same gradients, of all that is read inside", () => {
    const plain = gradients(block(block(x)), targets) as Tensor[];
    const again = gradients(recompute(block, recompute(block, x)), targets) as Tensor[];
    const [a, b] = [interpret(plain, feeds), interpret(again, feeds)];
    for (const [i, values] of a.entries()) expect(largestError(b[i]!, values)).toBeLessThan(1e-14);
    compare(again, feeds, 1e-5);
  });
  test("finds what was computed outside, and not given", () => {
    const narrow = gelu(weights[0]);
    const f = (x: Tensor) => gelu(matmul(x, narrow));
    const plain = gradients(f(x), [weights[0]]) as Tensor[];
    const again = gradients(recompute(f, x), [weights[0]]) as Tensor[];
    expect([...interpret(again, feeds)[0]!]).toEqual([...interpret(plain, feeds)[0]!]);
  });
});
