/** Quantised matrices: the values and thresholds that bitsandbytes publishes, what is lost, and what it costs. */
import { describe, expect, test } from "bun:test";
import { packInt4, quantiseInt4, unpackedInt4 } from "../../src/model/int4";
import { fitInt4 } from "../../src/model/int4-fit";
import { packInt8, quantiseInt8, unpackedInt8 } from "../../src/model/int8";
import { dynamicMap, NF4 } from "../../src/model/nf4";
import { bitsPerWeight, pack, quantisations, unpack } from "../../src/model/quantised";
import { transposed } from "../../src/model/transpose";
import { nf4Layout } from "../../src/tensor/stored";
import golden from "../golden/quantised.json";
import { sample } from "../support/oracle";

const codeOf = (x: number): number => {
  const values = Float32Array.from({ length: 64 }, (_, i) => (i === 63 ? 1 : i === 0 ? x : 0));
  return new Uint8Array(pack(values, [1, 64], "nf4").buffer)[0]! >> 4;
};

describe("nf4", () => {
  test("takes the nearer value, by the thresholds of bitsandbytes", () => {
    const thresholds = [
      -0.8480964, -0.6106329, -0.4599953, -0.3396795, -0.2346074, -0.1379117, -0.045525, 0.0397901, 0.1202553,
      0.2035213, 0.2920138, 0.3893125, 0.5016634, 0.6427869, 0.8614784,
    ];
    thresholds.forEach((threshold, i) => {
      expect(codeOf(threshold - 1e-5)).toBe(i);
      expect(codeOf(threshold + 1e-5)).toBe(i + 1);
    });
  });
  test("its values are quantiles of a normal distribution", () => {
    // Phi((NF4[i] scaled to its largest quantile)) is evenly spaced: 9 steps above zero, 8 below, from 0.9677083.
    const quantile = 1.8481308; // of 0.9677083
    expect(cumulative(NF4[14]! * quantile)).toBeCloseTo(0.9677083 - (0.9677083 - 0.5) / 8, 4);
    expect(cumulative(NF4[1]! * quantile)).toBeCloseTo(1 - (0.9677083 - (0.9677083 - 0.5) / 7), 4);
    expect(NF4.toSorted()).toEqual(NF4);
  });
  test("packs element 2k into the high half of byte k", () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => (i === 0 ? 1 : i === 1 ? -1 : 0));
    expect(new Uint8Array(pack(values, [1, 64], "nf4").buffer)[0]).toBe(0xf0);
  });
  test("the map of scales is the signed 8-bit dynamic one", () => {
    const map = dynamicMap();
    expect(new Set(map).size).toBe(256);
    expect(map.at(-1)).toBe(1);
    expect(map.at(-2)).toBeCloseTo(0.1 + (0.9 * 63.5) / 64, 6);
    expect(map[0]).toBeCloseTo(-(0.1 + (0.9 * 63.5) / 64), 6);
    expect(map.filter((v) => v > 0)[0]).toBeCloseTo(5.5e-7, 12);
    expect(map.filter((v) => v === 0)).toHaveLength(1);
  });
  test("scales survive their own quantisation to within 2%", () => {
    const count = 64 * 300;
    const values = Float32Array.from(sample(count, 3), (v, i) => v * (1 + (Math.floor(i / 64) % 7) / 7));
    const got = unpack(pack(values, [300, 64], "nf4"), [300, 64], "nf4");
    for (let block = 0; block < 300; block++) {
      const part = (x: Float32Array) =>
        x.subarray(64 * block, 64 * (block + 1)).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      expect(Math.abs(part(got) / part(values) - 1)).toBeLessThan(0.02);
    }
  });
  test.each([
    [128, 384],
    [128, 128],
    [768, 2304],
  ])("a matrix of %i x %i takes at most 4.7 bits a weight, larger ones 4.13", (a, b) => {
    expect(bitsPerWeight([b, a], "nf4")).toBeLessThan(a < 768 ? 4.7 : 4.134);
  });
});

describe.each(quantisations)("%s", (kind) => {
  test.each([
    [1, 1],
    [3, 5],
    [64, 64],
    [7, 200],
    [130, 300],
  ])("of %i x %i comes back near to what it was,", (rows, columns) => {
    const values = Float32Array.from(sample(rows * columns, 5));
    const once = unpack(pack(values, [rows, columns], kind), [rows, columns], kind);
    const far = values.reduce((most, v, i) => Math.max(most, Math.abs(v - once[i]!)), 0);
    expect(far).toBeLessThan({ nf4: 0.17, int8: 0.005, int4: 0.068 }[kind]);
    const zeros = unpack(pack(new Float32Array(rows * columns), [rows, columns], kind), [rows, columns], kind);
    expect(zeros.every((v) => v === 0)).toBe(true);
  });
});

describe.each(golden)("as PyTorch, [$shape.0, $shape.1]", ({ shape, values: encoded, int8, int4, nf4 }) => {
  const values = new Float32Array(Uint8Array.from(Buffer.from(encoded, "base64")).buffer);
  test("int8", () => {
    const got = quantiseInt8(values, shape);
    expect([...got.codes]).toEqual(int8.codes);
    expect([...got.scales]).toEqual(int8.scales.map(Math.fround));
    expect(unpackedInt8(packInt8(got, shape), shape)).toEqual(got);
  });
  test("int4", () => {
    const got = quantiseInt4(values, shape);
    expect([...got.codes]).toEqual(int4.codes);
    expect([...got.scales]).toEqual(int4.scales);
    expect([...got.least]).toEqual(int4.least);
    expect(unpackedInt4(packInt4(got, shape), shape)).toEqual(got);
  });
  test("nf4", () => {
    const words = pack(values, shape, "nf4");
    const { scales, nested, offset } = nf4Layout(values.length);
    const bytes = new Uint8Array(words.buffer);
    expect([...bytes.subarray(0, nf4.packed.length)]).toEqual(nf4.packed);
    expect([...bytes.subarray(4 * scales, 4 * scales + nf4.absmax.length)]).toEqual(nf4.absmax);
    const floats = new Float32Array(words.buffer);
    expect(floats[offset]!).toBeCloseTo(nf4.offset, 5);
    nf4.nested.forEach((v, i) => {
      expect(floats[nested + i]!).toBeCloseTo(v, 5);
    });
  });
});

describe("int4 whose errors count by input", () => {
  const values = Float32Array.from(sample(64 * 40, 11));
  const counts = Float64Array.from(sample(64, 12), (v, i) => (i % 8 === 0 ? 100 : 1) * v * v);
  const error = (given?: Float64Array) => {
    const got = unpack(pack(values, [40, 64], "int4", given), [40, 64], "int4");
    return values.reduce((sum, v, i) => sum + counts[i % 64]! * (v - got[i]!) ** 2, 0);
  };
  test("is off by less where they are large", () => expect(error(counts)).toBeLessThan(0.7 * error()));
  test("is never worse for what was tried first", () => {
    const exact = Float32Array.from({ length: 64 }, (_, i) => -2 + (i % 16) * 0.25);
    expect(fitInt4(exact, counts, { scale: 0.25, least: -2 })).toEqual({ scale: 0.25, least: -2 });
  });
  test("leaves one value for all as it is", () =>
    expect(fitInt4(new Float32Array(64).fill(3), counts, { scale: 0, least: 3 })).toEqual({ scale: 0, least: 3 }));
});

test("the parts of an nf4 matrix do not overlap", () => {
  const { scales, map, scaleMap, nested, offset, words } = nf4Layout(1000);
  expect([scales, map, scaleMap, nested, offset, words]).toEqual([125, 129, 145, 401, 402, 403]);
});

test("transposed twice is the same", () => {
  const values = Float32Array.from(sample(15, 1));
  expect(transposed(transposed(values, [3, 5]), [5, 3])).toEqual(values);
});

/** The normal distribution's, by Simpson's rule. */
function cumulative(x: number): number {
  const n = 1000;
  const h = x / n;
  let sum = 0;
  for (let i = 0; i <= n; i++) sum += (i === 0 || i === n ? 1 : i % 2 ? 4 : 2) * Math.exp(-((i * h) ** 2) / 2);
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}
