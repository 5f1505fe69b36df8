/** What each exercise of docs/exercises is held against: the engine's own float64 meaning. A check says what is wrong, or nothing. */
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { quantiseInt8 } from "../../src/model/int8";
import { modelOf } from "../../src/model/model";
import { nextToken } from "../../src/model/next-token";
import { type PairOptions, pairLoss } from "../../src/model/pair-losses";
import { initialise } from "../../src/model/parameters";
import { attention, crossEntropy, sum } from "../../src/ops";
import { randomAt } from "../../src/ops/random";
import { type DpoConfig, schema as dpoSchema, expectedLoss } from "../../src/stages/dpo";
import { groupAdvantages } from "../../src/stages/online/advantages";
import { input, type Tensor } from "../../src/tensor/tensor";

/** What an exercise's file exports. */
type Solution = Readonly<Record<string, unknown>>;
/** A sentence on what is wrong. */
export type Check = (solution: Solution) => string | null;

type Matrix = number[][];

const [T, D] = [6, 8];

export const checks: Readonly<Record<string, Check>> = {
  attention({ attention: own }) {
    const [q, k, v] = [1, 2, 3].map((seed) => matrix(T, D, seed, 2)) as [Matrix, Matrix, Matrix];
    const wanted = oneHead(q, k, v);
    const found = (own as (q: Matrix, k: Matrix, v: Matrix) => Matrix)(q, k, v);
    const wrong = differing(found, wanted);
    if (wrong) return wrong;
    // Scores of hundreds: e^709 is the last that a double holds.
    const large = [q, k].map((x) => x.map((row) => row.map((value) => 40 * value))) as [Matrix, Matrix];
    const past = differing((own as (q: Matrix, k: Matrix, v: Matrix) => Matrix)(...large, v), oneHead(...large, v));
    return past && `with large scores ${past}: take the largest off before exp`;
  },
  mask({ masked: own }) {
    const mine = own as (scores: Matrix, v: Matrix) => Matrix;
    const [scores, v] = [matrix(T, T, 4), matrix(T, D, 5)];
    const before = mine(scores, v);
    for (let t = 0; t < T - 1; t++) {
      const changed = v.map((row, i) => (i > t ? row.map((value) => value + 1) : row));
      const seen = mine(scores, changed)[t]!;
      if (seen.some((value, c) => Math.abs(value - before[t]![c]!) > 1e-12))
        return `what stands at position ${t} changes with what comes after it: it sees the token that it is to foretell`;
    }
    for (let t = 0; t < T; t++) {
      const changed = v.map((row, i) => (i === t ? row.map((value) => value + 1) : row));
      if (mine(scores, changed)[t]!.every((value, c) => Math.abs(value - before[t]![c]!) < 1e-12))
        return `position ${t} does not see itself`;
    }
    // q of the unit rows and k of the scores' columns have these scores.
    const q = scores.map((_, t) => Array.from({ length: 8 }, (_, c) => (c === t ? Math.sqrt(8) : 0)));
    const k = scores.map((_, i) => Array.from({ length: 8 }, (_, c) => scores[c]?.[i] ?? 0));
    return differing(before, oneHead(q, k, v));
  },
  "first-loss"({ firstLoss }) {
    const found = firstLoss as Record<string, number>;
    const dpo = (more: object) =>
      expectedLoss(dpoSchema.parse({ kind: "dpo", data: "pairs.jsonl", ...more }) as DpoConfig)!;
    const wanted = {
      dpo: dpo({ beta: 0.1 }),
      smoothed: dpo({ beta: 0.1, labelSmoothing: 0.3 }),
      ipo: dpo({ loss: "ipo", beta: 0.5 }),
      hinge: dpo({ loss: "hinge" }),
    };
    const measured = newModelsLoss(640);
    if (!(Math.abs(found.pretrain! - measured) < 0.02))
      return `pretrain: ${found.pretrain}, and a new model has ${measured.toFixed(4)}`;
    for (const [name, value] of Object.entries(wanted))
      if (!(Math.abs(found[name]! - value) < 1e-4)) return `${name}: ${found[name]} is not what it begins with`;
    return null;
  },
  gradient({ gradient: own }) {
    const [V, target] = [7, 3];
    const logits = matrix(1, V, 6, 3)[0]!;
    const [x, targets] = [input("logits", [1, V]), input("target", [1], "u32")];
    const [grad] = gradients(sum(crossEntropy(x, targets)), [x]);
    const exact = interpret([grad!], feeds([x, logits], [targets, [target]]))[0]!;
    return differing([(own as (x: number[], target: number) => number[])(logits, target)], [[...exact]]);
  },
  dpo({ dpo: own }) {
    const options: Omit<PairOptions, "beta"> = { labelSmoothing: 0, divergence: "reverse_kl", alpha: 0.5, tau: 0.05 };
    const cases = [
      [-12, -14, -12, -14, 0.1],
      [-10, -15, -12, -14, 0.1],
      [-15, -10, -12, -14, 0.5],
      [-900, -1, -2, -800, 0.5],
    ];
    for (const [chosen = 0, rejected = 0, chosenReference = 0, rejectedReference = 0, beta = 0] of cases) {
      const side = (logProb: number, reference: number) => {
        const [own, held, length] = [input("own", [1]), input("reference", [1]), input("length", [1])];
        return {
          side: { logProbs: own, reference: held, lengths: length },
          fed: [[own, [logProb]] as const, [held, [reference]] as const, [length, [1]] as const],
        };
      };
      const [better, worse] = [side(chosen, chosenReference), side(rejected, rejectedReference)];
      const one = input("one", [1]);
      const loss = pairLoss(
        "sigmoid",
        { chosen: better.side, rejected: worse.side, weights: one, meanLength: one },
        { ...options, beta },
      );
      const wanted = interpret([loss], feeds(...better.fed, ...worse.fed, [one, [1]]))[0]![0]!;
      const found = (own as (pair: object, beta: number) => number)(
        { chosen, rejected, chosenReference, rejectedReference },
        beta,
      );
      if (!(Math.abs(found - wanted) < 1e-9 * Math.max(1, wanted)))
        return `chosen ${chosen} (reference ${chosenReference}), rejected ${rejected} (${rejectedReference}), beta ${beta}: ${found}, and not ${wanted.toFixed(6)}`;
    }
    return null;
  },
  advantages({ advantages: own }) {
    const rewards = [
      [1, 0, 0, 1],
      [0, 0, 0, 1],
      [0.5, 2, -1, 0],
      [1, 1, 1, 1],
    ];
    const { values } = groupAdvantages([rewards.flat()], {
      size: 4,
      scale: "group",
      aggregation: "sum_then_normalize",
      weights: [1],
    });
    const wanted = rewards.map((_, i) => values.slice(4 * i, 4 * i + 4));
    return differing((own as (rewards: Matrix) => Matrix)(rewards), wanted);
  },
  int8({ quantise }) {
    const own = quantise as (row: number[]) => { readonly codes: number[]; readonly scale: number };
    for (const row of [...matrix(4, 33, 8, 0.05), Array.from({ length: 5 }, () => 0)]) {
      const exact = quantiseInt8(Float32Array.from(row), [1, row.length]);
      const { codes, scale } = own(row.map(Math.fround));
      if (!(Math.abs(scale - exact.scales[0]!) <= 1e-7 * exact.scales[0]!))
        return `the scale is ${scale}, and not ${exact.scales[0]}`;
      const at = codes.findIndex((code, i) => code !== exact.codes[i] && !(code === 0 && exact.codes[i] === 0));
      if (codes.length !== row.length || at >= 0)
        return `weight ${at}, ${row[at]}, has the code ${codes[at]}, and not ${exact.codes[at]}`;
    }
    return null;
  },
};

/** [rows][columns] random numbers in [-size, size), by seed. */
function matrix(rows: number, columns: number, seed: number, size = 1): Matrix {
  const at = (row: number, column: number) => size * (2 * randomAt(seed, 11, row * columns + column) - 1);
  return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => at(row, column)));
}

/** The engine's attention in float64. */
function oneHead(q: Matrix, k: Matrix, v: Matrix): Matrix {
  const qkv = input("qkv", [q.length, 24]);
  const out = interpret(
    [attention(qkv, { tokens: q.length, heads: 1 })],
    feeds([qkv, q.flatMap((row, t) => [...row, ...k[t]!, ...v[t]!])]),
  )[0]!;
  return q.map((_, t) => [...out.subarray(8 * t, 8 * t + 8)]);
}

/** Of a new model with so many tokens, on text that says nothing. */
function newModelsLoss(vocabulary: number): number {
  const model = modelOf({ type: "gpt2", vocabulary, context: 16, layers: 1, heads: 1, width: 16, epsilon: 1e-5 });
  const values = initialise(model.parameters, 1337);
  const { tokens, positions, targets, weight, loss, rowPositions } = nextToken(model, { rows: 8, length: 16 });
  const ids = (seed: number) => matrix(1, 128, seed, 1)[0]!.map((x) => Math.floor(((x + 1) / 2) * vocabulary));
  const parameters = model.parameters.list.map(
    ({ tensor, offset, size }) => [tensor, [...values.subarray(offset, offset + size)]] as const,
  );
  const fed = feeds([tokens, ids(1)], [targets, ids(2)], [positions, [...rowPositions]], [weight, [1 / 128]]);
  return interpret([loss], new Map([...fed, ...feeds(...parameters)]))[0]![0]!;
}

function feeds(...fed: readonly (readonly [Tensor, readonly number[]])[]): Map<Tensor, Float64Array> {
  return new Map(fed.map(([tensor, values]) => [tensor, Float64Array.from(values)]));
}

function differing(found: Matrix, wanted: Matrix): string | null {
  for (const [row, values] of wanted.entries())
    for (const [column, value] of values.entries()) {
      const own = found?.[row]?.[column];
      if (own === undefined || !(Math.abs(own - value) < 1e-9))
        return `row ${row}, column ${column} is ${own}, and not ${value.toFixed(6)}`;
    }
  return null;
}
