/** Perplexity against log-probabilities taken window by window, and what is published of GPT-2. */
import { describe, expect, test } from "bun:test";
import { Program } from "../../src/autograd/program";
import { score, windowsOf } from "../../src/eval/perplexity";
import { comparePublished, published, publishedLogits } from "../../src/eval/published";
import { input } from "../../src/tensor/tensor";
import { device, onEachDevice } from "../support/device";
import { toy, toyModel } from "../support/model";

const ids = Uint16Array.from({ length: 77 }, (_, i) => (i * i * 7 + 3 * i) % toy.vocabulary);

/** -log p of ids[at], seeing ids[begin, at). */
function surprise(made: ReturnType<typeof toyModel>, begin: number, at: number): number {
  const length = at - begin;
  const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
  const logits = made.model.logits(made.model.hidden(tokens, positions, { length }));
  using program = new Program(device(), [logits], { bind: made.weights.bind() });
  program.feed(tokens, Uint32Array.from(ids.subarray(begin, at)));
  program.feed(
    positions,
    Uint32Array.from({ length }, (_, i) => i),
  );
  program.run();
  const row = [...program.read(logits).subarray((length - 1) * toy.vocabulary)];
  return Math.log(row.reduce((total, v) => total + Math.exp(v - row[ids[at]!]!), 0));
}

onEachDevice(() => {
  test.each([
    [32, 32],
    [32, 16],
    [20, 7],
    [9, 1],
  ])("windows of %i tokens, stride %i", async (context, stride) => {
    using made = toyModel();
    const { nats, tokens, windows, stderr } = await score({ device: device(), ...made }, ids, { context, stride });
    expect(tokens).toBe(ids.length - 1);
    const drawn = windowsOf(ids.length, { context, stride }).map(({ begin, end, from }) => {
      let sum = 0;
      for (let at = from; at <= end; at++) sum += surprise(made, begin, at);
      return { sum, count: end + 1 - from };
    });
    const wanted = drawn.reduce((all, { sum }) => all + sum, 0);
    expect(Math.abs(nats - wanted) / wanted).toBeLessThan(1e-5);
    expect(windows).toBe(drawn.length);
    // The mean is a ratio of two sums over windows: the variance of a ratio, from variances and covariance (Cochran 1977, 2.29).
    const n = drawn.length;
    const [sums, counts] = [drawn.map(({ sum }) => sum), drawn.map(({ count }) => count)];
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / n;
    const covariance = (x: readonly number[], y: readonly number[]) =>
      x.reduce((all, v, i) => all + (v - mean(x)) * (y[i]! - mean(y)), 0) / (n - 1);
    const ratio = mean(sums) / mean(counts);
    const variance =
      covariance(sums, sums) + ratio ** 2 * covariance(counts, counts) - 2 * ratio * covariance(sums, counts);
    expect(stderr! / (Math.sqrt(variance / n) / mean(counts))).toBeCloseTo(1, 4);
  });
});

test("weights that give no finite loss are told", async () => {
  using made = toyModel();
  for (const parameter of made.model.parameters.list)
    made.weights.write(parameter, new Float32Array(parameter.size).fill(Number.NaN));
  await expect(score({ device: device("adapter"), ...made }, ids, { context: 32, stride: 32 })).rejects.toThrow(
    "the loss of the text is NaN: the model's logits are not finite",
  );
});

test("a text that is shorter than the context, and one too short to score", async () => {
  using made = toyModel();
  const on = { device: device("adapter"), ...made };
  expect(await score(on, ids.subarray(0, 5), { context: 32, stride: 32 })).toMatchObject({ tokens: 4, stderr: null });
  await expect(score(on, ids.subarray(0, 1), { context: 32, stride: 32 })).rejects.toThrow("perplexity needs two");
});

test.each([
  [77, 32, 32],
  [77, 32, 8],
  [33, 32, 32],
  [34, 32, 32],
  [2, 32, 16],
  [500, 7, 3],
])("of %i tokens every one but the first is scored once (context %i, stride %i)", (count, context, stride) => {
  const windows = windowsOf(count, { context, stride });
  const scored = windows.flatMap(({ from, end }) => Array.from({ length: end + 1 - from }, (_, i) => from + i));
  expect(scored).toEqual(Array.from({ length: count - 1 }, (_, i) => i + 1));
  windows.forEach(({ begin, end, from }, i) => {
    expect(end - begin).toBeLessThanOrEqual(context);
    // A window after the first sees at least context - stride tokens before the first that it scores.
    if (i > 0) expect(from - begin).toBeGreaterThanOrEqual(context - stride);
  });
});

describe("what is published of GPT-2", () => {
  test("agrees with itself, and not with other weights", () => {
    const V = 50257;
    const logits = new Float32Array(4 * V).fill(-1000);
    published.ids.forEach((_, r) => {
      logits.set(published.first[r]!, r * V);
      if (published.last[r]) logits.set(published.last[r]!, (r + 1) * V - 3);
    });
    const numbers = comparePublished(logits).filter(({ what }) => what.startsWith("logit"));
    expect(numbers.length).toBe(21);
    for (const { got, wanted } of numbers) expect(got).toBeCloseTo(wanted, 4);
    logits[V] = -111;
    const off = comparePublished(logits).filter(
      ({ what, got, wanted, tolerance }) => what.startsWith("logit") && Math.abs(got - wanted) > tolerance,
    );
    expect(off.map(({ what }) => what)).toEqual(["logit of token 0 after 2"]);
  });
  test("log-probabilities are those of the logits", () => {
    const V = 50257;
    const logits = new Float32Array(4 * V);
    const found = comparePublished(logits).filter(({ what }) => what.startsWith("log-probability"));
    for (const { got } of found) expect(got).toBeCloseTo(-Math.log(V), 4);
  });
  test("logits are taken after every token", () => {
    using made = toyModel({ ...toy, vocabulary: 23100 });
    expect(publishedLogits(device("adapter"), made).length).toBe(4 * 23100);
  });
});
