/** Every op: its gradient rule, and its kernels at sizes 1, tile, tile + 1 and ragged. A case is one line. */
import { describe, expect, test } from "bun:test";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { narrowed, narrowedToF16, widened, widenedFromF16 } from "../../src/model/half";
import { pack, quantisations, unpack } from "../../src/model/quantised";
import {
  accumulate,
  add,
  addColumns,
  addTo,
  attention,
  attentionCached,
  cacheAppend,
  cacheCopy,
  columnSum,
  countTokens,
  crossEntropy,
  divergence,
  doraNorm,
  dropout,
  fromColumns,
  gather,
  gatherPart,
  gelu,
  IGNORE,
  keepHalf,
  layerNorm,
  matmul,
  mean,
  multiply,
  NO_SLOT,
  narrow,
  ones,
  rowSum,
  scale,
  scaleColumns,
  sum,
  tokenStatistics,
  widen,
} from "../../src/ops";
import { input, type Tensor, view } from "../../src/tensor/tensor";
import { cpuKinds, device } from "../support/device";
import {
  build,
  checkForward,
  checkGradient,
  checkKernels,
  compare,
  type Given,
  kernelForms,
  largestError,
  type Op,
  sample,
} from "../support/oracle";

const idValues = (count: number, below: number) => Array.from({ length: count }, (_, i) => (i * 7 + (i >> 2)) % below);
const ids = (count: number, below: number): Given => ({ shape: [count], values: idValues(count, below) });
/** Ids of which every third is to be ignored. */
const some = (count: number, below: number): Given => ({
  shape: [count],
  values: idValues(count, below).map((id, i) => (i % 3 === 1 ? IGNORE : id)),
});

/** Numbers that are given, and so have no gradient. */
const noise = (count: number, size: number) =>
  Array.from({ length: count }, (_, i) => Math.fround(size * Math.sin(12.9898 * (i + 1))));

type Case = [name: string, op: Op, given: (n: number) => Given[], tolerance?: number];

const cases: Case[] = [
  [
    "add",
    (a, b) => add(a!, b!),
    (n) => [
      [3, n],
      [3, n],
    ],
  ],
  ["gelu", (x) => gelu(scale(x!, 4)), (n) => [[7, n]]],
  ["sum", (x) => sum(x!), (n) => [[5, n]], 4e-6],
  ["sum in two steps", (x) => sum(x!, 0.5), (n) => [[n, 512]], 1e-5],
  ["mean", (x) => mean(x!), (n) => [[n]], 4e-6],
  ["rowSum", (x) => rowSum(x!, 3), (n) => [[n, 9]], 4e-6],
  ["columnSum", (x) => columnSum(x!), (n) => [[9, n]], 4e-6],
  ["columnSum in two steps", (x) => columnSum(x!), (n) => [[3 * n + 130, 5]], 1e-5],
  [
    "matmul",
    (a, b) => matmul(a!, b!),
    (n) => [
      [n, 5],
      [5, n],
    ],
    4e-6,
  ],
  [
    "matmul of long rows",
    (a, b) => matmul(a!, b!),
    (n) => [
      [3, n],
      [n, 40],
    ],
    8e-6,
  ],
  [
    "matmul aT",
    (a, b) => matmul(a!, b!, { transposeA: true }),
    (n) => [
      [n, 5],
      [n, 3],
    ],
    4e-6,
  ],
  [
    "matmul bT",
    (a, b) => matmul(a!, b!, { transposeB: true }),
    (n) => [
      [n, 6],
      [11, 6],
    ],
    4e-6,
  ],
  [
    "matmul aT bT",
    (a, b) => matmul(a!, b!, { transposeA: true, transposeB: true }),
    (n) => [
      [7, n],
      [n, 7],
    ],
    4e-6,
  ],
  ["matmul with bias", (a, b, c) => matmul(a!, b!, { bias: c! }), (n) => [[n, 8], [8, 35], [35]], 4e-6],
  [
    "matmul with bias and gelu",
    (a, b, c) => matmul(a!, b!, { bias: c!, gelu: true }),
    (n) => [[n, 8], [8, 35], [35]],
    4e-6,
  ],
  ["layerNorm", (x, s, b) => layerNorm(x!, s!, b!), (n) => [[n, 12], [12], [12]], 1e-5],
  ["layerNorm of long rows", (x, s, b) => layerNorm(x!, s!, b!), (n) => [[3, n + 3], [n + 3], [n + 3]], 1e-5],
  ["gather", (t, i) => gather(t!, i!), (n) => [[5, 6], ids(n, 5)], 4e-6],
  ["attention", (x) => attention(x!, { tokens: 5, heads: 2 }), () => [[10, 24]], 1e-5],
  [
    "attention over more tokens",
    (x) => attention(x!, { tokens: x!.shape[0]! / 2, heads: 1 }),
    (n) => [[2 * n, 24]],
    1e-5,
  ],
  [
    "attention inside documents",
    (x, starts) => attention(x!, { tokens: 9, heads: 2, starts: starts! }),
    () => [[18, 24], { shape: [18], values: [0, 0, 2, 2, 2, 5, 5, 5, 8, 0, 0, 0, 0, 4, 4, 4, 4, 4] }],
    1e-5,
  ],
  [
    "attention inside documents over more tokens",
    (x, starts) => attention(x!, { tokens: 130, heads: 1, starts: starts! }),
    () => [[130, 12], { shape: [130], values: Array.from({ length: 130 }, (_, i) => Math.floor(i / 37) * 37) }],
    1e-5,
  ],
  ["attention, heads of 20", (x) => attention(x!, { tokens: x!.shape[0]!, heads: 2 }), (n) => [[n, 120]], 1e-5],
  ["cross-entropy", (x, t) => crossEntropy(scale(x!, 5), t!), (n) => [[n, 9], some(n, 9)], 1e-5],
  [
    "doraNorm",
    (w, a, b) => doraNorm(w!, a!, b!, 0.7),
    (n) => [
      [n, 9],
      [3, n],
      [9, 3],
    ],
    4e-6,
  ],
  [
    "doraNorm of many columns",
    (w, a, b) => doraNorm(w!, a!, b!, 2),
    (n) => [
      [5, n],
      [8, 5],
      [n, 8],
    ],
    4e-6,
  ],
  [
    "scaleColumns",
    (y, m, norm, bias) => scaleColumns(y!, m!, norm!, bias!),
    (n) => [[7, n], [n], { shape: [n], values: Array.from({ length: n }, (_, i) => 1 + (i % 4)), dtype: "f32" }, [n]],
    4e-6,
  ],
  ["token statistics", (x, t) => tokenStatistics(scale(x!, 5), t!), (n) => [[n, 9], some(n, 9)], 1e-5],
  ["token statistics of long rows", (x, t) => tokenStatistics(x!, t!), (n) => [[3, n], some(3, n)], 1e-5],
  ...[0, 0.3, 1].flatMap((beta): Case[] => [
    [
      `divergence, beta ${beta}`,
      (s, t, targets) => divergence(scale(s!, 5), t!, targets!, { beta }),
      (n) => [[n, 9], { shape: [n, 9], values: noise(9 * n, 3), dtype: "f32" }, some(n, 9)],
      1e-5,
    ],
    [
      `divergence of long rows, beta ${beta}`,
      (s, t, targets) => divergence(s!, t!, targets!, { beta }),
      (n) => [[3, n], { shape: [3, n], values: noise(3 * n, 1), dtype: "f32" }, some(3, n)],
      1e-5,
    ],
  ]),
  ["cross-entropy of long rows", (x, t) => crossEntropy(x!, t!), (n) => [[3, n], some(3, n)], 1e-5],
  [
    "dropout",
    (x, seed) => dropout(x!, seed!, { rate: 0.3, stream: 2 }),
    (n) => [[3, n], { shape: [1], values: [12345] }],
  ],
  [
    "mlp",
    (x, w, v) => add(x!, matmul(gelu(matmul(x!, w!)), v!)),
    (n) => [
      [4, n],
      [n, 24],
      [24, n],
    ],
    8e-6,
  ],
  [
    "addColumns",
    (target, a, b) => addColumns(scale(target!, 2), 3, a!, b!),
    (n) => [
      [n, 12],
      [n, 7],
      [5, 7],
    ],
    4e-6,
  ],
  [
    "fromColumns",
    (a, b) => fromColumns(a!, 4, b!),
    (n) => [
      [n, 30],
      [9, 6],
    ],
    4e-6,
  ],
  [
    "fromColumns transposed",
    (a, b) => fromColumns(a!, 2, b!, { transposeA: true, width: 11 }),
    (n) => [
      [n, 20],
      [n, 6],
    ],
    1e-5,
  ],
  ["gatherPart", (target, part, i) => gatherPart(scale(target!, 2), part!, i!, 4), (n) => [[7, n], [5, n], ids(7, 14)]],
  ["a view of rows", (x) => gelu(view(multiply(x!, x!), [1, 64], { offset: 64 })), () => [[3, 64]]],
];

/** Parts of gradient rules, and what is only told: they have no rule themselves. */
const withoutRule = /^(token statistics|fromColumns|doraNorm)/;

describe.each(cases)("%s", (name, op, given, tolerance) => {
  if (withoutRule.test(name))
    test("has no gradient", () => expect(() => checkGradient(op, given(6))).toThrow("no rule"));
  else test("gradient", () => checkGradient(op, given(6)));
  const check = withoutRule.test(name) ? checkForward : checkKernels;
  test.each([1, 16, 17, 32, 33, 67])("kernels at %i", (n) => check(op, given(n), tolerance));
});

/** Edges of tiles, of quads, and of slices of the inner dimension. */
describe.each([
  [1, 1, 385],
  [65, 129, 400],
  [130, 66, 17],
  [128, 128, 8],
  [3, 7, 5],
])("products of %i x %i over %i", (M, N, K) => {
  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])("a transposed: %p, b transposed: %p", (transposeA, transposeB) => {
    const [a, b] = [transposeA ? [K, M] : [M, K], transposeB ? [N, K] : [K, N]];
    checkForward((a, b) => matmul(a!, b!, { transposeA, transposeB }), [a, b], 4e-6);
  });
  test("with bias and GELU", () => {
    checkForward((a, b, c) => matmul(a!, b!, { bias: c!, gelu: true }), [[M, K], [K, N], [N]], 4e-6);
  });
  test("added to something", () => {
    checkKernels((x, a, b, c) => addTo(x!, matmul(a!, b!, { bias: c! })), [[M, N], [M, K], [K, N], [N]], 4e-6);
  });
  test("after GELU, whose gradient is part of theirs", () => {
    checkKernels(
      (a, b) => matmul(gelu(a!), b!),
      [
        [M, K],
        [K, N],
      ],
      4e-6,
    );
  });
});

describe("products of few rows", () => {
  test.each([1, 2, 5, 8])("%i rows", (M) => {
    for (const [K, N] of [
      [1, 4],
      [300, 36],
      [516, 5],
    ] as const) {
      checkForward((a, b, c) => matmul(a!, b!, { bias: c!, gelu: true }), [[M, K], [K, N], [N]], 4e-6);
      checkForward(
        (x, a, b) => addTo(x!, matmul(a!, b!, { transposeB: true })),
        [
          [M, N],
          [M, K],
          [N, K],
        ],
        4e-6,
      );
    }
  });
  test("on a GPU a row's sums do not depend on its company", () => {
    const gpu = kernelForms()["a GPU of 32 KiB"]!;
    for (const transposeB of [false, true]) {
      const [K, N] = [260, 68];
      const b = input("b", transposeB ? [N, K] : [K, N]);
      const values = Float32Array.from(sample(8 * K, 3));
      const row = (rows: number, which: number) => {
        const a = input("a", [rows, K]);
        const y = matmul(a, b, { transposeB });
        using program = new Program(gpu, [y]);
        program.feed(b, Float32Array.from(sample(K * N, 4)));
        program.feed(a, rows === 8 ? values : values.subarray(which * K, (which + 1) * K));
        program.run();
        return program
          .read(y)
          .subarray((rows === 8 ? which : 0) * N)
          .slice(0, N);
      };
      for (const which of [0, 5, 7]) expect(row(8, which)).toEqual(row(1, which));
    }
  });
});

describe("ops without gradients", () => {
  const slots: Given = { shape: [3], values: [3, NO_SLOT, 0] };
  test.each([1, 8, 9])("cacheAppend, %i heads", (heads) => {
    const C = 4 * heads;
    const positions: Given = { shape: [3], values: [6, 0, 0] };
    checkForward(
      (cache, qkv, slots, positions) =>
        cacheAppend(scale(cache!, 2), qkv!, { slots: slots!, positions: positions! }, heads),
      [[4, 7, 2 * C], [6, 3 * C], slots, positions],
    );
  });
  test.each([1, 16, 17, 70])("cacheCopy of %i positions", (count) => {
    const move: Given = { shape: [3], values: [2, 0, count] };
    checkForward((cache, move) => cacheCopy(scale(cache!, 2), move!), [[3, 70, 24], move]);
  });
  test.each([
    [1, 1],
    [8, 1],
    [33, 1],
    [70, 1],
    [70, 2],
    [70, 7],
    [70, 50],
    [130, 61],
  ])("attentionCached over %i positions, %i queries", (length, tokens) => {
    const positions: Given = { shape: [3], values: [length - tokens, 0, (length - tokens) >> 1] };
    checkForward(
      (qkv, slots, positions, cache) => attentionCached(qkv!, cache!, { slots: slots!, positions: positions! }, 3),
      [[3 * tokens, 72], slots, positions, [4, length, 48]],
      1e-5,
    );
  });
  test("attentionCached past the end of the cache", () => {
    const positions: Given = { shape: [3], values: [6, 0, 7] };
    checkForward(
      (qkv, slots, positions, cache) => attentionCached(qkv!, cache!, { slots: slots!, positions: positions! }, 3),
      [[3 * 4, 72], slots, positions, [4, 7, 48]],
      1e-5,
    );
  });
  test("countTokens", () => {
    const counts: Given = { shape: [2, 3], values: [0, 1, 2, 3, 4, 5] };
    const streams: Given = { shape: [3, 3], values: [1, 9, 9, NO_SLOT, 9, 9, 0, 9, 9] };
    checkForward((c, t, s) => countTokens(c!, t!, s!), [counts, { shape: [3], values: [2, 1, 0] }, streams], 0);
  });
});

describe.each(["bf16", "f16"] as const)("matrices stored in %s", (dtype) => {
  /** Numbers that it holds exactly, so that only the arithmetic differs. */
  const half = (...shape: number[]): Given => {
    const size = shape.reduce((a, b) => a * b, 1);
    const floats = Float32Array.from(sample(size, 77), (v, i) => (i % 5 === 0 ? v / 40000 : v));
    const values = dtype === "bf16" ? widened(narrowed(floats)) : widenedFromF16(narrowedToF16(floats));
    return { shape, values: [...values], dtype };
  };
  const forms: [string, Op, (n: number) => Given[]][] = [
    ["a b", (a, b) => matmul(a!, b!), (n) => [[9, n], half(n, 21)]],
    ["a bT", (a, b) => matmul(a!, b!, { transposeB: true }), (n) => [[9, n], half(21, n)]],
    ["few rows, a b", (a, b) => matmul(a!, b!, { gelu: true }), (n) => [[2, n], half(n, 21)]],
    ["few rows, a bT", (a, b) => matmul(a!, b!, { transposeB: true }), (n) => [[1, n], half(21, n)]],
    ["many columns", (a, b) => matmul(a!, b!), (n) => [[40, 11], half(11, 8 * n)]],
    ["gather", (table, i) => gather(table!, i!), (n) => [half(9, n), ids(7, 9)]],
    ["gatherPart", (y, part, i) => gatherPart(scale(y!, 2), part!, i!, 4), (n) => [[7, n], half(5, n), ids(7, 14)]],
    ["addColumns", (y, a, b) => addColumns(scale(y!, 2), 3, a!, b!), (n) => [[n, 12], [n, 7], half(5, 7)]],
  ];
  test.each(forms.flatMap(([name, op, given]) => [1, 8, 17, 33, 64].map((n) => [name, n, op, given] as const)))(
    "%s at %i",
    (_name, n, op, given) => {
      const { xs, y, feeds } = build(op, given(n), 3);
      expect(xs.some((x) => x.dtype === dtype)).toBe(true);
      compare([y], feeds, 4e-6);
    },
  );
  test("are refused by an op that cannot read them", () => {
    const x = input("x", [4, 4], dtype);
    expect(() => new Program(device("cpu"), [gelu(x)])).toThrow(`gelu cannot read x in ${dtype}`);
  });
});

describe.each(quantisations)("matrices quantised to %s", (kind) => {
  /** Numbers that it holds, so that only the arithmetic differs. */
  const quantised = (...shape: number[]): Given => {
    const size = shape.reduce((a, b) => a * b, 1);
    const floats = Float32Array.from(sample(size, 77), (v, i) => v / (1 + ((i >> 6) % 5)));
    return { shape, values: [...floats], dtype: kind };
  };
  /** Feeds the op what the words stand for. */
  const check = (op: Op, given: Given[], tolerance = 4e-6) => {
    const { xs, y, feeds } = build(op, given, 3);
    const b = xs.find(({ dtype }) => dtype === kind)!;
    feeds.set(b, Float64Array.from(unpack(pack(Float32Array.from(feeds.get(b)!), b.shape, kind), b.shape, kind)));
    const wanted = interpret([y], feeds)[0]!;
    for (const [form, on] of Object.entries(kernelForms())) {
      using program = new Program(on, [y]);
      for (const [x, values] of feeds)
        program.feed(
          x,
          x === b
            ? pack(Float32Array.from(valuesOf(given, xs, b)), b.shape, kind)
            : (x.dtype === "u32" ? Uint32Array : Float32Array).from(values),
        );
      program.run();
      expect(largestError(program.read(y), wanted), `kernels for ${form}`).toBeLessThan(tolerance);
    }
  };
  const valuesOf = (given: readonly Given[], xs: Tensor[], b: Tensor) =>
    (given[xs.indexOf(b)] as { readonly values: readonly number[] }).values;
  const forms: [string, Op, (n: number) => Given[]][] = [
    ["a b", (a, b) => matmul(a!, b!), (n) => [[9, n], quantised(n, 21)]],
    ["a bT", (a, b) => matmul(a!, b!, { transposeB: true }), (n) => [[9, n], quantised(21, n)]],
    [
      "a bT and a bias",
      (a, b, c) => matmul(a!, b!, { transposeB: true, bias: c! }),
      (n) => [[7, n], quantised(21, n), [21]],
    ],
    ["few rows, a b", (a, b) => matmul(a!, b!), (n) => [[2, n], quantised(n, 21)]],
    ["few rows, a bT", (a, b) => matmul(a!, b!, { transposeB: true }), (n) => [[3, n], quantised(21, n)]],
    ["many columns", (a, b) => matmul(a!, b!), (n) => [[40, 11], quantised(11, 8 * n)]],
    ["many rows of b", (a, b) => matmul(a!, b!, { transposeB: true }), (n) => [[40, 200], quantised(8 * n, 200)]],
    [
      "one row, a long a bT",
      (a, b) => matmul(a!, b!, { transposeB: true }),
      (n) => [[1, 600], quantised(8 * n + 3, 600)],
    ],
    [
      "five rows, a long a bT",
      (a, b) => matmul(a!, b!, { transposeB: true }),
      (n) => [[5, 296], quantised(8 * n, 296)],
    ],
  ];
  test.each(forms.flatMap(([name, op, given]) => [1, 8, 17, 33, 64, 100].map((n) => [name, n, op, given] as const)))(
    "%s at %i",
    (_name, n, op, given) => check(op, given(n)),
  );
  if (kind === "int8")
    test.each([4, 5, 64, 67])("a table of width %i gives its rows", (n) =>
      check(
        (table, ids) => gather(table!, ids!),
        [quantised(37, n), { shape: [6], values: [0, 36, 7, 7, 12, 1], dtype: "u32" }],
      ),
    );
  test("are refused by an op that cannot read them", () => {
    const x = input("x", [4, 4], kind);
    expect(() => new Program(device("cpu"), [gelu(x)])).toThrow(`gelu cannot read x in ${kind}`);
  });
});

describe("activations kept in 16 bits", () => {
  test.each([1, 2, 7, 8, 9, 1000, 9001])("narrow and widen %i numbers", (n) => {
    const x = input("x", [n]);
    const values = sample(n, 5).map((v, i) => Math.fround(v * 10 ** ((i % 9) - 4)));
    compare([widen(narrow(x))], new Map([[x, values]]), 0);
  });
  test("halves are rounded to even, and NaN stays NaN", () => {
    const words = [0x3f800000, 0x3f808000, 0x3f818000, 0x7f800000, 0x7fffffff, 0xff800001, 0x7f7fffff, 0x00000001];
    for (const on of ["adapter" as const, ...cpuKinds].map((kind) => device(kind))) {
      const x = input("x", [words.length], "u32");
      const y = widen(narrow(x));
      using program = new Program(on, [y]);
      program.feed(x, Uint32Array.from(words));
      program.run();
      const got = program.read(y);
      expect([...got]).toEqual([1, 1, 1.015625, Infinity, Number.NaN, Number.NaN, Infinity, 0]);
    }
  });
  test("an op keeps what its rule needs, rounded, and no more", () => {
    const keep = keepHalf();
    const [a, b, dy] = [input("a", [9, 16]), input("b", [16, 5]), input("dy", [9, 5])];
    const y = gelu(matmul(gelu(a, keep), b, { keep }), keep);
    const grads = gradients(y, [a, b], { seed: dy }) as (typeof a)[];
    const feeds = new Map([a, b, dy].map((t, i) => [t, sample(t.shape[0]! * t.shape[1]!, i)]));
    compare(grads, feeds, 1e-5);
    const plain = gelu(matmul(gelu(a), b));
    const exact = interpret(gradients(plain, [a, b], { seed: dy }) as (typeof a)[], feeds);
    interpret(grads, feeds).forEach((got, i) => {
      const error = largestError(got, exact[i]!);
      expect(error).toBeGreaterThan(1e-6); // it is rounded
      expect(error).toBeLessThan(1e-2);
    });
  });
});

describe("accumulation in place", () => {
  const product: Op = (a, b, c) => matmul(a!, b!, { transposeA: true, bias: c! });
  const table: [string, Op, Given[]][] = [
    ["matmul", product, [[6, 33], [6, 40], [40]]],
    ["columnSum", (x) => columnSum(x!), [[300, 5]]],
    [
      "gather's gradient",
      (x, i) => gradients(gather(input("t", [9, 3]), i!), [i!], {})[0] ?? scale(x!, 1),
      [[4, 3], ids(4, 9)],
    ],
    [
      "a sum of two",
      (x, y) => add(matmul(x!, y!), matmul(y!, x!)),
      [
        [5, 5],
        [5, 5],
      ],
    ],
    ["anything else", (x) => gelu(x!), [[5, 5]]],
  ];
  test.each(table)("%s", (_name, op, given) => {
    checkForward(
      (...xs) => {
        const y = op(...xs);
        return accumulate(scale(ones(y.shape), 3), y);
      },
      given,
      1e-5,
    );
  });

  test("gradients() adds every use of a parameter onto its slice", () => {
    const [w, x, slab] = [input("w", [4, 4]), input("x", [4, 4]), input("slab", [4, 4])];
    const y = matmul(matmul(x, w), w, { transposeB: true });
    const [onto] = gradients(y, [w], { into: new Map([[w, slab]]) });
    const feeds = new Map([w, x, slab].map((t, i) => [t, sample(16, i)]));
    compare([onto!], feeds, 4e-6);
  });
});

describe("attention of every head size, at the edges of tiles", () => {
  const starts = (T: number): Given => ({
    shape: [2 * T],
    values: Array.from({ length: 2 * T }, (_, i) => (i % T < 21 ? 0 : i % T < 40 ? 21 : 40)),
  });
  test.each([4, 24, 28, 64])("heads of %i", (D) => {
    for (const T of [1, 15, 31, 32, 33, 65]) {
      checkKernels((qkv) => attention(qkv!, { tokens: T, heads: 1 }), [[2 * T, 3 * D]], 4e-6);
    }
    checkKernels(
      (qkv, starts) => attention(qkv!, { tokens: 70, heads: 1, starts: starts! }),
      [[140, 3 * D], starts(70)],
      4e-6,
    );
  });
  test("large scores", () => {
    checkKernels((qkv) => attention(scale(qkv!, 30), { tokens: 40, heads: 2 }), [[40, 48]], 5e-5);
  });
});

test("attention over more keys than are summed at a time", () => {
  const starts = Array.from({ length: 290 }, (_, i) => (i < 9 ? 0 : 9));
  const op: Op = (x, starts) => attention(x!, { tokens: 290, heads: 1, starts: starts! });
  checkKernels(op, [[290, 12], { shape: [290], values: starts, dtype: "u32" }], 1e-5);
});
