/** Log-probabilities with gradients: against float64, and PyTorch's (test/golden/log_probs.py), tied, with adapters, whole and by chunks. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { plan, planBytes } from "../../src/autograd/plan";
import { Program } from "../../src/autograd/program";
import { loadModel } from "../../src/formats/checkpoint";
import { openAdapter } from "../../src/formats/peft";
import { rowLoss } from "../../src/model/head";
import { logProbs } from "../../src/model/log-probs";
import { withAdapters } from "../../src/model/model";
import { dft, nll } from "../../src/model/row-losses";
import { bindAll } from "../../src/model/slab";
import { tableParts } from "../../src/model/table";
import { add, concat, IGNORE, logSigmoid, multiply, scale, slice, subtract, sum } from "../../src/ops";
import { input, type Tensor, view } from "../../src/tensor/tensor";
import golden from "../golden/log_probs.json";
import { device, onEachDevice } from "../support/device";
import { compare, largestError, sample } from "../support/oracle";

describe("by chunks", () => {
  const N = 150;
  const [x, narrow] = [input("x", [N, 8]), input("narrow", [N, 3])];
  const [table, low, weights] = [input("table", [70, 8]), input("low", [70, 3]), input("weights", [N])];
  const targets = input("targets", [N], "u32");
  const feeds = new Map<Tensor, Float64Array>([
    [x, sample(N * 8, 1)],
    [narrow, sample(N * 3, 4)],
    [table, sample(70 * 8, 2)],
    [low, sample(70 * 3, 5)],
    [weights, sample(N, 6)],
    [targets, Float64Array.from({ length: N }, (_, i) => (i % 9 === 4 ? IGNORE : (i * 13) % 70))],
  ]);
  const terms = (most?: number) => [
    { x, parts: tableParts(table, most) },
    { x: narrow, parts: tableParts(low) },
  ];
  const leaves = [x, narrow, table, low];
  /** A loss that is no sum over rows. */
  const mixed = (rowsAtOnce: number, most?: number) => {
    const found = logProbs(terms(most), targets, { rowsAtOnce, temperature: 0.8 });
    const first = sum(slice(found.logProbs, { count: 50 }));
    const rest = sum(slice(found.logProbs, { first: 50, count: 100 }));
    const loss = scale(logSigmoid(scale(subtract(first, rest), 0.01)), -1);
    return [loss, found.logProbs, found.statistics, ...gradients(loss, leaves)] as Tensor[];
  };

  test("its kernels compute what it means, in one chunk, in three, and with the table in parts", () => {
    compare([...mixed(192), ...mixed(64), ...mixed(64, 2048)], feeds, 2e-5);
    const [whole, chunked, parted] = [mixed(192), mixed(64), mixed(64, 2048)].map((outputs) =>
      interpret(outputs, feeds),
    );
    whole!.forEach((values, i) => {
      expect(largestError(chunked![i]!, values)).toBeLessThan(1e-12);
      expect(largestError(parted![i]!, values)).toBeLessThan(1e-12);
    });
  });
  test("its gradients are those of central differences", () => {
    const [loss, , , ...grads] = mixed(64);
    const got = interpret(grads, feeds);
    const at = (tensor: Tensor, i: number, h: number) => {
      const moved = feeds.get(tensor)!.slice();
      moved[i]! += h;
      return interpret([loss!], new Map([...feeds, [tensor, moved]]))[0]![0]!;
    };
    leaves.forEach((leaf, l) => {
      for (const i of [0, 7, 101]) {
        const wanted = (at(leaf, i, 1e-5) - at(leaf, i, -1e-5)) / 2e-5;
        expect(Math.abs(got[l]![i]! - wanted)).toBeLessThan(1e-9);
      }
    });
  });
  test("adds onto slabs as other gradients do", () => {
    const slab = input("slab", [70, 8]);
    const { logProbs: found } = logProbs(terms(2048), targets, { rowsAtOnce: 64 });
    const [onto] = gradients(sum(multiply(found, weights)), [table], { into: new Map([[table, slab]]) });
    compare([onto!], new Map([...feeds, [slab, sample(70 * 8, 9)]]), 1e-5);
  });
  test("gives what a row loss gives, of whose gradients it is another way", () => {
    const byRows = rowLoss(terms(), nll(targets), weights, { rowsAtOnce: 64 });
    const other = scale(sum(multiply(logProbs(terms(), targets, { rowsAtOnce: 64 }).logProbs, weights)), -1);
    const [a, b] = [byRows.loss, other].map((loss) =>
      interpret([loss, ...(gradients(loss, leaves) as Tensor[])], feeds),
    );
    a!.forEach((values, i) => {
      expect(largestError(b![i]!, values)).toBeLessThan(1e-12);
    });
    compare([byRows.loss, byRows.sums, ...(gradients(byRows.loss, leaves) as Tensor[])], feeds, 1e-5);
  });
  test("dft weights by a probability through which no gradient flows", () => {
    const weight = input("weight", [1]);
    const all = new Map([...feeds, [weight, Float64Array.of(0.25)] as const]);
    const found = rowLoss(terms(), dft(targets), weight, { rowsAtOnce: 64 });
    expect(found.metrics).toEqual(["loss", "nll", "entropy", "mean_token_accuracy", "mean_logits"]);
    compare([found.loss, found.sums, ...(gradients(found.loss, leaves) as Tensor[])], all, 1e-5);
    const { logProbs: lp } = logProbs(terms(), targets);
    const [values] = interpret([lp], all);
    const p = Float64Array.from(values!, Math.exp);
    const counted = Float64Array.from(values!, (v) => (v === 0 ? 0 : 1));
    const wanted = values!.reduce((total, v, i) => total - 0.25 * counted[i]! * p[i]! * v, 0);
    expect(Math.abs(interpret([found.loss], all)[0]![0]! - wanted)).toBeLessThan(1e-10);
    const constant = input("p", [N]);
    const byHand = scale(sum(multiply(lp, constant)), -0.25);
    const grads = interpret(gradients(byHand, leaves) as Tensor[], new Map([...all, [constant, p]]));
    interpret(gradients(found.loss, leaves) as Tensor[], all).forEach((values, i) => {
      expect(largestError(grads[i]!, values)).toBeLessThan(1e-10);
    });
  });
  test("keeps one chunk's logits at a time", () => {
    expect(planBytes(plan(mixed(64)))).toBeLessThan(planBytes(plan(mixed(192))));
  });
});

onEachDevice(() => {
  const ids = Uint32Array.from(golden.tokens);
  const T = ids.length - 1;
  const cases = [
    ...golden.tied.map((wanted) => [`tied, temperature ${wanted.temperature}`, wanted, false] as const),
    ...golden.adapter.map((wanted) => ["an adapter on the head", wanted, true] as const),
  ];
  test.each(cases)("PyTorch's values and gradients: %s", async (_name, wanted, adapted) => {
    const { model: plain, weights } = await loadModel(device(), "test/golden/layouts/transformers");
    using _weights = weights;
    using files = adapted ? openAdapter("test/golden/peft/head", plain) : null;
    using adapter = files?.load(device());
    const model = files ? withAdapters(plain, [files.adapter]) : plain;
    const [tokens, positions] = [input("tokens", [T], "u32"), input("positions", [T], "u32")];
    const [targets, shift] = [input("targets", [T], "u32"), input("shift", [T])];
    const hidden = model.hidden(tokens, positions, { length: T });
    const found = model.logProbs(hidden, targets, { temperature: wanted.temperature });
    const half = Math.floor(T / 2);
    const [first, rest] = [{ count: half }, { first: half, count: T - half }].map((part) =>
      sum(slice(found.logProbs, part)),
    );
    const loss = add(scale(logSigmoid(scale(subtract(first!, rest!), 0.1)), -1), sum(multiply(found.logProbs, shift)));
    const parameters = [plain.parameters, ...(files ? [files.adapter.parameters] : [])].flatMap(({ list }) => list);
    const names = Object.keys(wanted.gradients);
    const leaves = names.map((name) => parameters.find((p) => p.name === name)!.tensor);
    const grads = gradients(loss, leaves) as Tensor[];
    const column = (i: number) => slice(found.statistics, { first: i, count: T, step: 4 });
    const told = concat([1, 2, 3].map(column));
    const bind = bindAll([weights, ...(adapter ? [adapter] : [])]);
    using program = new Program(device(), [loss, found.logProbs, told, ...grads], { bind });
    program.feed(tokens, ids.subarray(0, T));
    program.feed(
      positions,
      Uint32Array.from({ length: T }, (_, i) => i),
    );
    program.feed(targets, ids.subarray(1));
    program.feed(shift, Float32Array.from(golden.shift));
    program.run();
    expect(Math.abs(program.read(loss)[0]! / wanted.loss - 1)).toBeLessThan(1e-5);
    expect(largestError(program.read(found.logProbs), wanted.log_probs)).toBeLessThan(1e-5);
    expect(
      largestError(program.read(told), [...wanted.entropy, ...wanted.accuracy, ...wanted.mean_logits]),
    ).toBeLessThan(1e-5);
    grads.forEach((grad, i) => {
      const expected = (wanted.gradients as unknown as Record<string, number[]>)[names[i]!]!;
      expect(largestError(program.read(grad), expected), names[i]!).toBeLessThan(1e-4);
    });
  });
});
