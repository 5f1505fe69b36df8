/** GPT-2 and its parts: sizes, initialisation, the head by chunks, recomputation, tables in parts, activations kept in bf16. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { plan, planBytes } from "../../src/autograd/plan";
import { presets } from "../../src/model/architectures";
import { rowLoss } from "../../src/model/head";
import { modelOf } from "../../src/model/model";
import { nextToken } from "../../src/model/next-token";
import { initialise, parameter } from "../../src/model/parameters";
import { nll } from "../../src/model/row-losses";
import { embed, project, tableParts } from "../../src/model/table";
import { add, IGNORE } from "../../src/ops";
import { memoryOf } from "../../src/stages/memory";
import { input, type Tensor } from "../../src/tensor/tensor";
import { toy } from "../support/model";
import { compare, largestError, sample } from "../support/oracle";

// The counts of the released checkpoints: docs of huggingface.co/openai-community; distilgpt2 likewise.
test.each([
  ["distilgpt2", 81_912_576],
  ["gpt2", 124_439_808],
  ["gpt2-medium", 354_823_168],
  ["gpt2-large", 774_030_080],
  ["gpt2-xl", 1_557_611_200],
])("%s has %i parameters", (preset, count) => {
  expect(modelOf({ ...presets[preset]!, vocabulary: 50257, epsilon: 1e-5 }).parameters.count).toBe(count);
});

test("GPT-3's eight sizes are there, in order of size", () => {
  const sizes = Object.keys(presets).filter((name) => name.startsWith("gpt3"));
  const counts = sizes.map((name) => modelOf({ ...presets[name]!, vocabulary: 50257, epsilon: 1e-5 }).parameters.count);
  expect(sizes.length).toBe(8);
  expect(counts).toEqual(counts.toSorted((a, b) => a - b));
  expect(counts.at(-1)! / 1e9).toBeCloseTo(175, -1);
});

describe("initialisation", () => {
  const model = modelOf({ ...toy, layers: 8, width: 64 });
  const values = initialise(model.parameters, 5);
  const stdOf = (name: string) => {
    const { offset, size } = parameter(model.parameters, name);
    const part = values.subarray(offset, offset + size);
    const mean = part.reduce((a, b) => a + b, 0) / size;
    return Math.sqrt(part.reduce((a, b) => a + (b - mean) ** 2, 0) / size);
  };
  test("weights are N(0, 0.02), those into the residual stream smaller by sqrt(2 L)", () => {
    expect(stdOf("h.3.mlp.c_fc.weight")).toBeCloseTo(0.02, 3);
    expect(stdOf("wte.weight")).toBeCloseTo(0.02, 3);
    expect(stdOf("h.3.mlp.c_proj.weight")).toBeCloseTo(0.02 / 4, 4);
    expect(stdOf("h.0.attn.c_proj.weight")).toBeCloseTo(0.02 / 4, 3);
  });
  test("it is a function of the seed", () => {
    expect(initialise(model.parameters, 5)).toEqual(values);
    expect(initialise(model.parameters, 6)).not.toEqual(values);
  });
  test("only matrices decay", () => {
    for (const { shape, decay } of model.parameters.list) expect(decay).toBe(shape.length === 2);
  });
});

describe("the chunked head", () => {
  const N = 150;
  const [x, table, weight] = [input("x", [N, 8]), input("table", [70, 8]), input("weight", [1])];
  const targets = input("targets", [N], "u32");
  const feeds = new Map<Tensor, Float64Array>([
    [x, sample(N * 8, 1)],
    [table, sample(70 * 8, 2)],
    [weight, Float64Array.of(Math.fround(1 / N))],
    [targets, Float64Array.from({ length: N }, (_, i) => (i % 9 === 4 ? IGNORE : (i * 13) % 70))],
  ]);
  const build = (rowsAtOnce: number, most?: number) => {
    const { loss } = rowLoss([{ x, parts: tableParts(table, most) }], nll(targets), weight, { rowsAtOnce });
    return [loss, ...gradients(loss, [x, table])] as Tensor[];
  };
  test("gives the same loss and gradients in one chunk and in three", () => {
    const [whole, chunked] = [build(192), build(64)];
    compare([...whole, ...chunked], feeds, 1e-5);
  });
  test("adds its gradient onto a slab", () => {
    const slab = input("slab", [70, 8]);
    const { loss } = rowLoss([{ x, parts: tableParts(table) }], nll(targets), weight, { rowsAtOnce: 64 });
    const [onto] = gradients(loss, [table], { into: new Map([[table, slab]]) });
    compare([onto!], new Map([...feeds, [slab, sample(70 * 8, 9)]]), 1e-5);
  });
  test("gives the same with its table in parts", () => {
    // Parts of 64 rows of 8 columns: the least that can be bound.
    expect(tableParts(table, 2048).map(({ first, rows }) => [first, rows])).toEqual([
      [0, 64],
      [64, 6],
    ]);
    const [whole, inParts] = [build(192), build(64, 2048)];
    compare([...whole, ...inParts], feeds, 1e-5);
    const slab = input("slab", [70, 8]);
    const { loss } = rowLoss([{ x, parts: tableParts(table, 2048) }], nll(targets), weight, { rowsAtOnce: 64 });
    const [onto] = gradients(loss, [table], { into: new Map([[table, slab]]) });
    compare([onto!], new Map([...feeds, [slab, sample(70 * 8, 9)]]), 1e-5);
  });
  test("keeps only one chunk's logits and their gradient", () => {
    const bytes = planBytes(plan(build(64)));
    expect(bytes).toBeLessThan(planBytes(plan(build(192))));
  });
});

test("recompute needs less memory and gives the same gradients, dropout included", () => {
  const model = modelOf({ ...toy, layers: 3 });
  const values = initialise(model.parameters, 1);
  const T = 8;
  const [tokens, positions, targets] = ["tokens", "positions", "targets"].map((name) => input(name, [2 * T], "u32"));
  const [weight, seed] = [input("weight", [1]), input("seed", [1], "u32")];
  const targetsOf = model.parameters.list.map(({ tensor }) => tensor);
  const build = (recompute: boolean) => {
    const hidden = model.hidden(tokens!, positions!, { length: T, recompute, dropout: { rate: 0.2, seed } });
    return gradients(model.loss(hidden, nll(targets!), weight).loss, targetsOf) as Tensor[];
  };
  const [plain, again] = [build(false), build(true)];
  const feeds = new Map<Tensor, Float64Array>([
    [tokens!, Float64Array.from({ length: 2 * T }, (_, i) => (i * 7) % 50)],
    [targets!, Float64Array.from({ length: 2 * T }, (_, i) => (i * 3) % 50)],
    [positions!, Float64Array.from({ length: 2 * T }, (_, i) => i % T)],
    [weight, Float64Array.of(0.0625)],
    [seed, Float64Array.of(99)],
    ...model.parameters.list.map(
      ({ tensor, offset, size }) => [tensor, Float64Array.from(values.subarray(offset, offset + size))] as const,
    ),
  ]);
  compare([...plain, ...again], feeds, 2e-5);
  expect(planBytes(plan(again, new Set(targetsOf)))).toBeLessThan(planBytes(plan(plain, new Set(targetsOf))));
});

describe("a table in parts", () => {
  const [table, x, ids] = [input("table", [150, 8]), input("x", [9, 8]), input("ids", [9], "u32")];
  const feeds = new Map<Tensor, Float64Array>([
    [table, sample(1200, 1)],
    [x, sample(72, 2)],
    [ids, Float64Array.from({ length: 9 }, (_, i) => (i * 41) % 150)],
  ]);
  const parts = (most: number) => tableParts(table, most);
  const build = (most: number) => {
    const y = project(add(x, embed(parts(most), ids)), parts(most));
    return [y, ...gradients(y, [table, x])] as Tensor[];
  };
  test("is as few parts of one size as fit, and the table itself where it fits", () => {
    expect(parts(4800)).toEqual([{ tensor: table, first: 0, rows: 150 }]);
    expect(parts(2048).map(({ first, rows }) => [first, rows])).toEqual([
      [0, 64],
      [64, 64],
      [128, 22],
    ]);
    const wte = input("wte", [50257, 768]);
    expect(tableParts(wte).length).toBe(2);
    for (const { rows, tensor } of tableParts(wte)) {
      expect(4 * rows * 768).toBeLessThanOrEqual(128 << 20);
      expect(tensor.offset! % 64).toBe(0);
    }
  });
  test("gives what the whole table gives: rows, logits and every gradient", () => {
    const [whole, split] = [build(1e9), build(2048)];
    compare([...whole, ...split], feeds, 1e-5);
    const exact = interpret([...whole, ...split], feeds);
    whole.forEach((_, i) => {
      expect(largestError(exact[whole.length + i]!, exact[i]!)).toBeLessThan(1e-12);
    });
  });
  test("has its gradient added onto its slice of the slab", () => {
    const slab = input("slab", [150, 8]);
    const y = project(add(x, embed(parts(2048), ids)), parts(2048));
    const [onto] = gradients(y, [table], { into: new Map([[table, slab]]) });
    const all = new Map([...feeds, [slab, sample(1200, 5)]]);
    compare([onto!], all, 1e-5);
    const plain = gradients(y, [table])[0]!;
    const [sum, alone] = interpret([onto!, plain], all);
    expect(
      largestError(
        sum!,
        alone!.map((v, i) => v + all.get(slab)![i]!),
      ),
    ).toBeLessThan(1e-12);
  });
});

test("activations kept in bf16 change the gradients by what rounding does", () => {
  const model = modelOf({ ...toy, layers: 3, width: 64 });
  const values = initialise(model.parameters, 1);
  const T = 16;
  const parameters = model.parameters.list.map(({ tensor }) => tensor);
  const build = (activations: "f32" | "bf16") => {
    const graph = nextToken(model, { rows: 4, length: T, activations });
    return { ...graph, grads: gradients(graph.loss, parameters) as Tensor[] };
  };
  const feedsOf = ({ tokens, positions, targets, weight, rowPositions }: ReturnType<typeof build>) =>
    new Map<Tensor, Float64Array>([
      [tokens, Float64Array.from({ length: 4 * T }, (_, i) => (i * 7) % 50)],
      [targets, Float64Array.from({ length: 4 * T }, (_, i) => (i * 3) % 50)],
      [positions, Float64Array.from(rowPositions)],
      [weight, Float64Array.of(1 / 64)],
      ...model.parameters.list.map(
        ({ tensor, offset, size }) => [tensor, Float64Array.from(values.subarray(offset, offset + size))] as const,
      ),
    ]);
  const [whole, half] = [build("f32"), build("bf16")];
  const exact = interpret(whole.grads, feedsOf(whole));
  interpret(half.grads, feedsOf(half)).forEach((got, i) => {
    const { name } = model.parameters.list[i]!;
    // The true gradient of the keys' bias is zero: only rounding is left.
    if (!name.endsWith("c_attn.bias")) expect(largestError(got, exact[i]!), name).toBeLessThan(2e-2);
  });
  compare(half.grads.slice(0, 6), feedsOf(half), 5e-3);
});

test("activations kept in bf16 take less memory", () => {
  const model = modelOf({ ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 });
  const bytes = (activations: "f32" | "bf16") => {
    const { trainingBytes, weightsBytes } = memoryOf(model, { rows: 4, tokens: 1024, recompute: false, activations });
    return trainingBytes - 4 * weightsBytes;
  };
  expect(bytes("bf16")).toBeLessThan(0.75 * bytes("f32"));
});
