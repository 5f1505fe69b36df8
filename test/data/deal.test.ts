/** Packing, length buckets, truncation, and the order of examples: nothing is lost, nothing is counted twice. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { holdOut, shuffled, subsetOf } from "../../src/data/choose";
import { cutTo } from "../../src/data/cut";
import { bestFit, dealOf } from "../../src/data/deal";
import { type Example, dealt as sized } from "../../src/data/examples";
import { batchArrays, fillBatch } from "../../src/data/layout";
import { IGNORE } from "../../src/ops/cross-entropy";

const example = (length: number, first = 1): Example => ({
  ids: Uint32Array.from({ length }, (_, i) => 100 * first + i),
  trained: Uint8Array.from({ length }, (_, i) => (i > length / 2 ? 1 : 0)),
  targets: Array.from({ length }, (_, i) => i > length / 2).filter(Boolean).length,
  where: `file:${first}`,
});
const options = { rows: 3, tokens: 64, accumulate: 2, packing: false, shuffle: true, seed: 7 };

describe("best fit", () => {
  test("keeps every example once, and no row over its capacity", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 200, size: "max" }), (sizes) => {
        const rows = bestFit(sizes, 50);
        expect(rows.flat().sort((a, b) => a - b)).toEqual(sizes.map((_, i) => i));
        for (const row of rows) expect(row.reduce((sum, i) => sum + sizes[i]!, 0)).toBeLessThanOrEqual(50);
        // At most one row is half empty: two of them would have been one.
        const half = rows.filter((row) => row.reduce((sum, i) => sum + sizes[i]!, 0) <= 25);
        expect(half.length).toBeLessThanOrEqual(1);
      }),
    );
  });
  test("fills rows as full as can be", () => {
    expect(bestFit([6, 4, 3, 3, 2, 2], 10).map((row) => row.sort())).toEqual([
      [0, 1],
      [2, 3, 4, 5],
    ]);
  });
});

describe.each([false, true])("a deal, packing %p", (packing) => {
  const examples = Array.from({ length: 41 }, (_, i) => example(2 + ((i * 13) % 60), i + 1));
  const deal = dealOf(examples.map(sized), { ...options, packing });
  test("uses every example once in every epoch, in another order", () => {
    const epoch = (at: number) =>
      Array.from({ length: deal.stepsPerEpoch }, (_, i) => deal.step(at * deal.stepsPerEpoch + i)).flatMap(
        ({ micro }) => micro.flatMap(({ rows }) => rows.flat()),
      );
    for (const at of [0, 1, 5]) expect(epoch(at).sort((a, b) => a - b)).toEqual(examples.map((_, i) => i));
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(epoch(1)).toEqual(epoch(1));
  });
  test("counts tokens and targets as they are", () => {
    for (let step = 0; step < 2 * deal.stepsPerEpoch; step++) {
      const used = deal.step(step).micro.flatMap(({ rows }) => rows.flat());
      const tokens = used.reduce((sum, i) => sum + examples[i]!.ids.length, 0);
      expect(deal.step(step).micro.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(tokens);
      expect(deal.step(step).targets).toBe(used.reduce((sum, i) => sum + examples[i]!.targets, 0));
    }
  });
  test("rows fit their graph's length, and targets its most", () => {
    const most = deal.mostTargets(3 * deal.stepsPerEpoch);
    for (let step = 0; step < 3 * deal.stepsPerEpoch; step++) {
      for (const { graph, rows } of deal.step(step).micro) {
        expect(rows.length).toBeLessThanOrEqual(3);
        for (const row of rows)
          expect(row.reduce((sum, i) => sum + examples[i]!.ids.length, 0)).toBeLessThanOrEqual(deal.lengths[graph]!);
        expect(rows.flat().reduce((sum, i) => sum + examples[i]!.targets, 0)).toBeLessThanOrEqual(most[graph]!);
      }
    }
  });
  test("lays out tokens, positions, beginnings and targets", () => {
    for (const { graph, rows } of deal.step(0).micro) {
      const length = deal.lengths[graph]!;
      const targets = deal.mostTargets(1)[graph]!;
      const into = batchArrays(3, length, targets + 5);
      into.tokens.fill(9);
      fillBatch(examples, rows, length, into);
      let target = 0;
      rows.forEach((row, r) => {
        let at = r * length;
        for (const i of row) {
          const { ids, trained } = examples[i]!;
          ids.forEach((id, t) => {
            expect([into.tokens[at + t], into.positions[at + t], into.starts[at + t]]).toEqual([
              id,
              t,
              at - r * length,
            ]);
            if (!trained[t]) return;
            expect([into.places[target], into.targets[target]]).toEqual([at + t - 1, id]);
            target++;
          });
          at += ids.length;
        }
      });
      expect([...into.targets.subarray(target)].every((id) => id === IGNORE)).toBe(true);
      expect(Math.max(...into.positions)).toBeLessThan(length);
      expect(into.starts.every((start, i) => start <= i % length)).toBe(true);
    }
  });
});

test("no order of one epoch comes again in another, for rows of any length", () => {
  // 12 examples of each of the four lengths.
  const examples = Array.from({ length: 48 }, (_, i) => example([10, 30, 60, 120][i % 4]!, i + 1));
  // A step is an epoch, and a micro-batch a length: its rows are in the order that was drawn.
  const deal = dealOf(examples.map(sized), { ...options, tokens: 128, rows: 12, accumulate: 4 });
  expect(deal.lengths).toEqual([16, 32, 64, 128]);
  const seen = Array.from({ length: 12 }, (_, epoch) => deal.step(epoch).micro).flatMap((micro) =>
    micro.map(({ rows }) => rows.map(([i]) => Math.floor(i! / 4)).join(" ")),
  );
  expect(new Set(seen).size).toBe(12 * 4);
});

test("lengths are halved as far as examples are short", () => {
  const lengths = (...sizes: number[]) =>
    dealOf(
      sizes.map((size) => sized(example(size))),
      { ...options, tokens: 128 },
    ).lengths;
  expect(lengths(10, 20, 120)).toEqual([16, 32, 128]);
  expect(lengths(100)).toEqual([128]);
  expect(() => lengths(200)).toThrow("file:1 has 200 tokens, and a row 128");
});

describe("cutting", () => {
  const ids = [1, 2, 3, 4, 5, 6, 7, 8];
  const flags = (text: string) => [...text].map((flag) => flag === "+");
  const cut = (trained: string, most: number, ends: readonly number[] = ids) =>
    cutTo({ ids: ids.slice(0, trained.length), trained: flags(trained) }, most, new Set(ends))?.ids;
  const left = (trained: string, most: number) =>
    cutTo({ ids: ids.slice(0, trained.length), trained: flags(trained) }, most);
  test("leaves an answer open that does not end within its row", () => {
    expect(left("---+++++", 8)).toMatchObject({ ids, open: false });
    expect(left("---+++++", 6)).toEqual({ ids: [1, 2, 3, 4, 5, 6], trained: flags("---+++"), open: true });
    expect(left("-++--+++", 6)).toMatchObject({ ids: [1, 2, 3, 4, 5, 6], open: true });
  });
  test("and no answer that ends with its row, or before it", () => {
    expect(left("-++--+++", 3)).toEqual({ ids: [1, 2, 3], trained: flags("-++"), open: false });
    expect(left("-++--+++", 5)).toEqual({ ids: [1, 2, 3], trained: flags("-++"), open: false });
  });
  test("with ends keeps the beginning and the end token", () => {
    expect(cut("---+++++", 8)).toEqual(ids);
    expect(cut("---+++++", 6)).toEqual([1, 2, 3, 4, 5, 8]);
  });
  test("keeps what the template trains behind the end token", () => {
    expect(cut("---+++++", 6, [7])).toEqual([1, 2, 3, 4, 7, 8]);
    expect(cut("-++--+++", 7, [3, 7])).toEqual([1, 2, 3, 4, 5, 7, 8]);
    expect(cut("-++--+++", 6, [3, 7])).toEqual([1, 2, 3]);
  });
  test("puts no other token in its place, and then it is open", () => {
    expect(cutTo({ ids, trained: flags("---+++++") }, 6, new Set([9]))?.open).toBe(true);
    expect(cutTo({ ids, trained: flags("---+++++") }, 6, new Set([8]))?.open).toBe(false);
    expect(cut("---+++++", 6, [9])).toEqual([1, 2, 3, 4, 5, 6]);
  });
  test("drops a turn that would be cut before its answer", () => {
    expect(cut("-++--+++", 5)).toEqual([1, 2, 3]);
    expect(cut("-++--+++", 7)).toEqual([1, 2, 3, 4, 5, 6, 8]);
  });
  test("leaves nothing where no answer begins in time", () => {
    expect(cut("-----+++", 5)).toBeUndefined();
    expect(cut("--------", 8)).toBeUndefined();
    expect(cut("+-------", 8)).toBeUndefined();
    // Before the first token nothing stands that it could be learned from.
    expect(cut("+----+++", 4)).toBeUndefined();
    expect(left("+++", 1)).toBeNull();
  });
});

test("the held-out share and a subset are functions of the seed", () => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  const { train, held } = holdOut(items, 0.1, 3);
  expect(held).toHaveLength(5);
  expect([...train, ...held].sort((a, b) => a - b)).toEqual(items);
  expect(holdOut(items, 0.1, 3)).toEqual({ train, held });
  expect(holdOut(items, 0.1, 4).held).not.toEqual(held);
  expect(holdOut([1, 2], 0.001, 1).held).toHaveLength(1);
  expect(holdOut([1, 2], 1, 1).train).toHaveLength(1);
  // All 6 orders of 3.
  expect(new Set(Array.from({ length: 100 }, (_, stream) => shuffled(3, 1, stream).join(""))).size).toBe(6);
  expect(subsetOf(items, 7, 1)).toHaveLength(7);
  expect(subsetOf(items, 0, 1)).toEqual(items);
  const tens = (item: number) => Math.floor(item / 10);
  expect(holdOut(items, 0.2, 3, tens).held).toHaveLength(10);
  expect(new Set(holdOut(items, 0.2, 3, tens).held.map(tens)).size).toBe(1);
  expect(new Set(subsetOf(items, 2, 1, tens).map(tens)).size).toBe(2);
  expect(shuffled(20, 1, 1)).not.toEqual(shuffled(20, 1, 2));
});

test("a deal and a subset are others with another seed, and micro-batches of all lengths come mixed", () => {
  const examples = Array.from({ length: 60 }, (_, i) => example(i % 2 ? 60 : 10, i + 1));
  const dealt = (seed: number) => {
    const deal = dealOf(examples.map(sized), { ...options, packing: false, accumulate: 1, seed });
    return Array.from({ length: deal.stepsPerEpoch }, (_, i) => deal.step(i).micro[0]!);
  };
  expect(dealt(1)).toEqual(dealt(1));
  const rows = (seed: number) => dealt(seed).map(({ rows }) => rows);
  expect(rows(1)).not.toEqual(rows(2));
  const graphs = dealt(1).map(({ graph }) => graph);
  expect(new Set(graphs).size).toBe(2);
  expect(graphs).not.toEqual(graphs.toSorted());
  const items = Array.from({ length: 50 }, (_, i) => i);
  expect(subsetOf(items, 7, 1)).not.toEqual(subsetOf(items, 7, 2));
  expect(holdOut(items, 0.044, 1).held).toHaveLength(2);
});

test("the second token is a target, and padding is a document of its own", () => {
  const short = { ids: Uint32Array.of(7, 8, 9), trained: Uint8Array.of(0, 1, 1), targets: 2, where: "x" };
  const into = batchArrays(2, 5, 3);
  fillBatch([short], [[0]], 5, into);
  expect([...into.tokens]).toEqual([7, 8, 9, 0, 0, 0, 0, 0, 0, 0]);
  expect([...into.places]).toEqual([0, 1, 0]);
  expect([...into.targets]).toEqual([8, 9, IGNORE]);
  expect([...into.starts]).toEqual([0, 0, 0, 3, 3, 0, 0, 0, 0, 0]);
  expect([...into.positions]).toEqual([0, 1, 2, 0, 1, 0, 1, 2, 3, 4]);
});
