/**
 * On the CPU device a row's result does not depend on what is computed beside it, to the bit: not in a product, and not from the first token
 * to the log-probability of the last, alone or in company, decoded or in one pass, in a row of its own or packed with others.
 */
import { describe, expect, test } from "bun:test";
import { Program } from "../../src/autograd/program";
import { Decoder } from "../../src/generate/decoder";
import { rollouts } from "../../src/generate/rollouts";
import { sampling } from "../../src/generate/sampling";
import type { ModelConfig } from "../../src/model/architecture";
import { bindAll } from "../../src/model/slab";
import { IGNORE, matmul } from "../../src/ops";
import type { DType } from "../../src/tensor/stored";
import { input } from "../../src/tensor/tensor";
import { cpuKinds, device, type Kind } from "../support/device";
import { toyModel } from "../support/model";
import { sample, stored } from "../support/oracle";

/** Long enough for several blocks of the inner dimension, in channels and in keys. */
const config: ModelConfig = {
  type: "gpt2",
  vocabulary: 83,
  context: 600,
  layers: 2,
  heads: 2,
  width: 24,
  epsilon: 1e-5,
};

const floats = (count: number, seed: number) => Float32Array.from(sample(count, seed));

describe.each([...cpuKinds])("on the CPU (%s)", (kind) => {
  test.each<[DType, boolean]>([
    ["f32", false],
    ["f32", true],
    ["bf16", false],
    ["bf16", true],
    ["f16", false],
    ["f16", true],
    ["nf4", true],
    ["int8", true],
    ["int4", true],
  ])("a row of a product with %s, transposed %p, is the same among 1 to 20 rows", (dtype, transposeB) => {
    for (const [inner, columns] of [
      [600, 130],
      [72, 49],
      [5, 33],
    ] as const) {
      if (inner % 8 && dtype !== "f32") continue;
      const shape = transposeB ? [columns, inner] : [inner, columns];
      const b = input("b", shape, dtype);
      const bias = input("bias", [columns]);
      const values = floats(20 * inner, 1);
      const weights = stored(sample(inner * columns, 2), b);
      const product = (rows: number) => {
        const a = input("a", [rows, inner]);
        const y = matmul(a, b, { transposeB, bias });
        using program = new Program(device(kind), [y]);
        program.feed(a, values.subarray(0, rows * inner));
        program.feed(b, weights);
        program.feed(bias, floats(columns, 3));
        program.run();
        return program.read(y);
      };
      const all = product(20);
      for (let rows = 1; rows < 20; rows++) expect(product(rows)).toEqual(all.subarray(0, rows * columns));
    }
  });

  const prompts = [3, 1, 290, 17, 120].map((length, i) =>
    Array.from({ length }, (_, t) => (7 * i + 3 * t * t + t) % config.vocabulary),
  );
  const options = { ...sampling.parse({ temperature: 1.1, maxTokens: 40, seed: 5 }), logProbs: true };

  test("log-probabilities of rollouts are those of scoring, whatever the slots, the pieces and the packing", () => {
    const on = device(kind);
    using made = toyModelOn(kind);
    const found = [5, 1, 3].map((slots) => {
      using decoder = new Decoder(on, made.model, [made.weights], {
        slots,
        capacity: 600,
        piece: slots === 3 ? 32 : 512,
      });
      return [...rollouts(decoder, prompts, options)].sort((a, b) => a.index - b.index);
    });
    expect(found[1]).toEqual(found[0]!);
    expect(found[2]).toEqual(found[0]!);
    const texts = found[0]!.map(({ index, ids }) => [...prompts[index]!, ...ids]);
    const wanted = found[0]!.flatMap(({ logProbs }) => logProbs);
    const scored = (length: number, rows: readonly (readonly number[][])[]) => {
      const got = score(kind, made, length, rows);
      return got.flatMap((logProbs, i) => logProbs.slice(prompts[i]!.length - 1));
    };
    // Each in a row of its own, all in rows of one length, and packed one behind another.
    expect(
      texts.flatMap((text, i) => score(kind, made, text.length, [[text]])[0]!.slice(prompts[i]!.length - 1)),
    ).toEqual(wanted);
    expect(
      scored(
        400,
        texts.map((text) => [text]),
      ),
    ).toEqual(wanted);
    expect(scored(600, [[texts[0]!, texts[1]!, texts[2]!, texts[3]!], [texts[4]!]])).toEqual(wanted);
  });
});

function toyModelOn(kind: Kind) {
  return toyModel(config, 3, device(kind));
}

/** The log-probability of each token but the first of each text; a row holds one or several texts. */
function score(
  kind: Kind,
  { model, weights }: ReturnType<typeof toyModel>,
  length: number,
  rows: readonly (readonly (readonly number[])[])[],
): number[][] {
  const size = rows.length * length;
  const [tokens, positions, starts, targets] = ["tokens", "positions", "starts", "targets"].map((name) =>
    input(name, [size], "u32"),
  ) as [ReturnType<typeof input>, ReturnType<typeof input>, ReturnType<typeof input>, ReturnType<typeof input>];
  const fed = { tokens: new Uint32Array(size), positions: new Uint32Array(size), starts: new Uint32Array(size) };
  const wanted = new Uint32Array(size).fill(IGNORE);
  const places: number[][] = [];
  rows.forEach((texts, row) => {
    let at = 0;
    for (const text of texts) {
      places.push(text.slice(1).map((_, t) => row * length + at + t));
      text.forEach((id, t) => {
        const place = row * length + at + t;
        fed.tokens[place] = id;
        fed.positions[place] = t;
        fed.starts[place] = at;
        if (t + 1 < text.length) wanted[place] = text[t + 1]!;
      });
      at += text.length;
    }
    // What is behind is one more document.
    for (let t = at; t < length; t++) fed.starts[row * length + t] = at;
  });
  const { logProbs } = model.logProbs(model.hidden(tokens, positions, { length, starts }), targets);
  using program = new Program(device(kind), [logProbs], { bind: bindAll([weights]) });
  program.feed(tokens, fed.tokens);
  program.feed(positions, fed.positions);
  program.feed(starts, fed.starts);
  program.feed(targets, wanted);
  program.run();
  const values = program.read(logProbs);
  return places.map((list) => list.map((place) => values[place]!));
}
