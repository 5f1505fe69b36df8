/** The planner on random graphs: no tensor loses its buffer while something still needs it. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { interpret } from "../../src/autograd/interpret";
import { isFed, plan } from "../../src/autograd/plan";
import { printGraph } from "../../src/autograd/print";
import { Program } from "../../src/autograd/program";
import { Scratch, shared } from "../../src/autograd/scratch";
import { accumulate, add, gelu, multiply } from "../../src/ops";
import { input, type Tensor, view } from "../../src/tensor/tensor";
import { device } from "../support/device";
import { compare, sample } from "../support/oracle";

/** A graph from a list of choices: each step makes a node from earlier ones. */
function graphOf(choices: readonly (readonly [number, number, number])[]): Tensor[] {
  const nodes: Tensor[] = [input("x", [64]), input("y", [64]), input("z", [128])];
  const sized = (length: number, at: number) => {
    const fitting = nodes.filter(({ shape }) => shape[0] === length);
    return fitting[at % fitting.length]!;
  };
  for (const [op, a, b] of choices) {
    const length = b % 2 ? 64 : 128;
    if (op === 0) nodes.push(add(sized(length, a), sized(length, b)));
    else if (op === 1) nodes.push(multiply(sized(length, a), sized(length, b)));
    else if (op === 2) nodes.push(gelu(sized(length, a)));
    else nodes.push(view(sized(128, a), [64], { offset: b % 2 ? 64 : 0 }));
  }
  return nodes;
}

const choices = fc.array(fc.tuple(fc.nat(3), fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 40 });

test("no live tensor shares a slot with another", () => {
  fc.assert(
    fc.property(choices, (list) => {
      const nodes = graphOf(list);
      const outputs = nodes.slice(-2);
      const { nodes: order, places, slots } = plan(outputs);
      const owner = new Map<number, Tensor>();
      for (const node of order) if (isFed(node)) owner.set(slots.get(node)!, node);
      for (const node of order) {
        for (const x of node.inputs) {
          const { root } = places.get(x)!;
          expect(owner.get(slots.get(root)!)).toBe(root);
        }
        const { root } = places.get(node)!;
        if (root === node) owner.set(slots.get(node)!, node);
      }
      for (const output of outputs) {
        const { root } = places.get(output)!;
        expect(owner.get(slots.get(root)!)).toBe(root);
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});

test("random graphs compute what they mean", () => {
  fc.assert(
    fc.property(choices, (list) => {
      const nodes = graphOf(list);
      const feeds = new Map(nodes.slice(0, 3).map((x, i) => [x, sample(x.shape[0]!, i)]));
      const outputs = nodes.slice(-3);
      if (interpret(outputs, feeds).some((values) => values.some((v) => Math.abs(v) > 1e6))) return;
      compare(outputs, feeds, 1e-4);
    }),
    { numRuns: 25, seed: 2 },
  );
});

describe("in-place nodes", () => {
  test("live in their first input's buffer", () => {
    const [x, y] = [input("x", [4]), input("y", [4])];
    const onto = accumulate(gelu(x), y);
    const { places } = plan([onto]);
    expect(places.get(onto)!.root).toBe(onto.inputs[0]!);
  });
  test("may not be followed by a read of what they have overwritten", () => {
    const [x, y] = [input("x", [4]), input("y", [4])];
    const before = gelu(x);
    const onto = accumulate(before, y);
    expect(() => plan([onto, multiply(before, y)])).toThrow(/overwritten it in place/);
  });
});

test("a chain of temporaries needs two buffers beside its ends", () => {
  let x: Tensor = input("x", [8]);
  for (let i = 0; i < 50; i++) x = gelu(x);
  expect(plan([x]).slotSizes.length).toBeLessThanOrEqual(4);
});

describe("scratch memory", () => {
  test("gives the slots of a program different buffers that are large enough, and grows only where none is left", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 12 });
    fc.assert(
      fc.property(sizes, sizes, (there, wanted) => {
        const { chosen, sizes: all } = shared(there, wanted);
        expect(new Set(chosen).size).toBe(wanted.length);
        expect(wanted.every((size, slot) => all[chosen[slot]!]! >= size)).toBe(true);
        expect(all.slice(0, there.length)).toEqual(there);
        // Where each slot fits the buffer of its rank, as in a smaller graph of the same kind, nothing is added.
        const [mine, theirs] = [wanted, there].map((list) => list.toSorted((a, b) => b - a)) as [number[], number[]];
        if (mine.every((size, rank) => (theirs[rank] ?? 0) >= size)) expect(all).toHaveLength(there.length);
      }),
      { numRuns: 200, seed: 3 },
    );
  });
  test("serves programs in turn, whose inputs stay", () => {
    using scratch = new Scratch(device());
    const programs = [64, 16, 32].map((length) => {
      const x = input("x", [length]);
      const y = multiply(gelu(x), x);
      const program = new Program(device(), [y], { scratch });
      program.feed(x, Float32Array.from(sample(length, length)));
      return { x, y, program, length };
    });
    for (let round = 0; round < 2; round++) {
      for (const { x, y, program, length } of programs) {
        program.run();
        const [wanted] = interpret([y], new Map([[x, sample(length, length)]]));
        program.read(y).forEach((v, i) => {
          expect(v).toBeCloseTo(wanted![i]!, 5);
        });
      }
    }
    const slices = programs.map(({ y, program }) => program.slice(y).buffer);
    expect(new Set(slices).size).toBeLessThan(3);
    for (const { program } of programs) program[Symbol.dispose]();
  });
});

test("a program says what was not fed and what does not fit", () => {
  const [x, y] = [input("x", [4]), input("y", [4])];
  const sum = add(x, y);
  using program = new Program(device(), [sum]);
  program.feed(x, new Float32Array(4));
  expect(() => program.run()).toThrow("nothing was fed to y");
  expect(() => program.feed(y, new Float32Array(3))).toThrow("got 3 values, expected 4");
});

test("a graph prints as one line a node", () => {
  const x = input("x", [2, 3]);
  const y = gelu(x);
  expect(printGraph([y])).toBe(`%${x.id} x [2, 3] (slot 0)\n%${y.id} gelu [2, 3] <- %${x.id} (slot 1)`);
});
