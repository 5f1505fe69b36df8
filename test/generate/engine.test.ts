/** Continuations of batches of prompts: as the whole pass gives them, by settings, past the end of the context. */
import { describe, expect, test } from "bun:test";
import { complete } from "../../src/app/complete";
import { Program } from "../../src/autograd/program";
import { Engine } from "../../src/generate/engine";
import { likeliest } from "../../src/generate/probabilities";
import { type Sampling, sampling } from "../../src/generate/sampling";
import type { Model } from "../../src/model/model";

import { Slab } from "../../src/model/slab";
import { input } from "../../src/tensor/tensor";
import { trainCharacters } from "../../src/text/characters";
import { tokenizerFrom } from "../../src/text/tokenizer";
import { device, onEachDevice } from "../support/device";
import { toy, toyModel } from "../support/model";

const greedy = sampling.parse({ temperature: 0, maxTokens: 12 });
const hot: Sampling = { ...greedy, temperature: 1.2, topK: 30, topP: 0.95, repetitionPenalty: 1.1 };
const prompts = [[3, 7, 1], [12], [40, 2, 2, 9, 33, 21, 8, 5, 17, 3, 3, 3, 49, 0, 1, 2, 3]];

function collect(engine: Engine, given: readonly number[][], options: Parameters<Engine["generate"]>[1]): number[][] {
  const rows = given.map((): number[] => []);
  for (const column of engine.generate(given, options))
    column.forEach((id, row) => {
      if (id !== null) rows[row]!.push(id);
    });
  return rows;
}

/** Greedy decoding without a cache: the whole sequence again for every token. */
function recomputed(model: Model, weights: Slab, prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const length = ids.length;
    const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
    const logits = model.logits(model.hidden(tokens, positions, { length }));
    using program = new Program(device(), [logits], { bind: weights.bind() });
    program.feed(tokens, Uint32Array.from(ids));
    program.feed(
      positions,
      Uint32Array.from(ids, (_, t) => t),
    );
    program.run();
    const last = program.read(logits).subarray((length - 1) * toy.vocabulary);
    ids.push(last.indexOf(last.reduce((a, b) => Math.max(a, b))));
  }
  return ids.slice(prompt.length);
}

onEachDevice(() => {
  describe("decoding", () => {
    test("with the cache equals full recomputation", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      for (const prompt of prompts) {
        expect(collect(engine, [prompt], greedy)[0]).toEqual(
          recomputed(made.model, made.weights, prompt, greedy.maxTokens),
        );
      }
    });

    test.each([
      ["greedy", greedy],
      ["sampled", hot],
    ])("%s: a row in a batch equals that row alone", (_name, options) => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const together = collect(engine, prompts, options);
      prompts.forEach((prompt, row) => {
        expect(together[row]).toEqual(collect(engine, [prompt], options)[0]!);
      });
      expect(collect(engine, prompts.toReversed(), options)).toEqual(together.toReversed());
    });

    test("is a function of the seed", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const options = { ...hot, maxTokens: 10 };
      expect(collect(engine, [prompts[0]!], options)).toEqual(collect(engine, [prompts[0]!], options));
      expect(collect(engine, [prompts[0]!], options)).not.toEqual(
        collect(engine, [prompts[0]!], { ...options, seed: 5 }),
      );
    });

    test("goes on past the context from the later half of the text", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const long = collect(engine, [prompts[0]!], { ...greedy, maxTokens: 60 })[0]!;
      expect(long.length).toBe(60);
      // Up to the context it is plain decoding; then the last 16 of the first 33 tokens are a new prompt.
      const plain = recomputed(made.model, made.weights, prompts[0]!, 30);
      expect(long.slice(0, 30)).toEqual(plain);
      const half = [...prompts[0]!, ...plain].slice(-toy.context / 2);
      expect(long.slice(30, 40)).toEqual(recomputed(made.model, made.weights, half, 10));
    });

    test("past the context, a row in a batch still equals that row alone", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const options = { ...greedy, maxTokens: 50 };
      const together = collect(engine, prompts, options);
      prompts.forEach((prompt, row) => {
        expect(together[row]).toEqual(collect(engine, [prompt], options)[0]!);
      });
    });

    test("a row that has ended leaves the others as they are, even past the context", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const options = { ...greedy, maxTokens: 50 };
      const rows = collect(engine, prompts, { ...options, ends: (row) => row === 2 });
      expect(rows[2]!.length).toBe(1);
      expect(rows[0]).toEqual(collect(engine, [prompts[0]!], options)[0]!);
    });

    test("ends each row when it is told to", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      let asked = 0;
      const rows = collect(engine, prompts, { ...hot, ends: (row) => row === 0 && ++asked === 3 });
      expect(rows.map(({ length }) => length)).toEqual([3, 12, 12]);
    });

    test("a repetition penalty forbids what has occurred when it is large", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const [row] = collect(engine, [prompts[0]!], { ...greedy, maxTokens: 25, repetitionPenalty: 100 });
      expect(new Set([...row!, ...prompts[0]!]).size).toBeGreaterThan(20);
    });

    test("a repetition penalty counts the prompt's tokens, presence and frequency penalties only what was written", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const given = Array.from({ length: 12 }, (_, i) => Array.from({ length: 30 }, (_, t) => (17 * i + t * t) % 50));
      const likeliestBy = (score: (v: number, id: number) => number) => (logits: Float32Array) =>
        likeliest(logits.map(score), 1)[0]!.id;
      const first = (prompt: number[], options: object) =>
        collect(engine, [prompt], { ...greedy, maxTokens: 1, ...options })[0]![0]!;
      let changed = 0;
      for (const prompt of given) {
        const logits = engine.nextLogits(prompt);
        const seen = new Set(prompt);
        const plain = likeliestBy((v) => v)(logits);
        // CTRL's rule: https://arxiv.org/abs/1909.05858, section 4.1, with negative scores multiplied as others do.
        const penalised = likeliestBy((v, id) => (!seen.has(id) ? v : v > 0 ? v / 3 : v * 3))(logits);
        expect(first(prompt, { repetitionPenalty: 3 })).toBe(penalised);
        expect(first(prompt, { presencePenalty: 2, frequencyPenalty: 2 })).toBe(plain);
        if (penalised !== plain) changed++;
      }
      expect(changed).toBeGreaterThan(3);
    });

    test.each([1e-39, 1e-9, 9e-7])("a temperature of %d is greedy", (temperature) => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const greedily = collect(engine, prompts, { ...hot, temperature: 0 });
      expect(collect(engine, prompts, { ...hot, temperature })).toEqual(greedily);
      expect(new Set(greedily.flat()).size).toBeGreaterThan(3);
    });

    test.each([Number.NaN, Number.POSITIVE_INFINITY, 3e38])("weights of %d end generation with a sentence", (bad) => {
      using made = toyModel();
      const { offset, size } = made.model.parameters.list.find(({ name }) => name === "h.1.mlp.c_fc.weight")!;
      made.values.fill(bad, offset, offset + size);
      using weights = new Slab(device(), made.model.parameters, { values: made.values });
      using engine = new Engine(device(), made.model, [weights]);
      expect(() => collect(engine, prompts, greedy)).toThrow("the model's logits are not finite");
      expect(() => collect(engine, prompts, hot)).toThrow("the model's logits are not finite");
      expect(() => likeliest(engine.nextLogits(prompts[0]!), 3)).toThrow("the model's logits are not finite");
    });

    test("several samples of one prompt are what each would be alone, from one prefill", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const given = [prompts[0]!, prompts[0]!, prompts[1]!, prompts[0]!];
      const options = { ...hot, maxTokens: 10 };
      const together = collect(engine, given, options);
      // In the order in which each is asked for, whichever are asked for together.
      const asked = new Map<string, number>();
      given.forEach((prompt, row) => {
        expect(together[row]).toEqual(collect(engine, [prompt], { ...options, asked })[0]!);
      });
      expect(new Set([together[0], together[1], together[3]].map(String)).size).toBe(3);
      const twice = prompts.flatMap((prompt) => [prompt, prompt]);
      expect(collect(engine, twice, { ...options, samples: 2 }).filter((_, i) => i % 2 === 0)).toEqual(
        collect(engine, prompts, options),
      );
      const next = collect(engine, given, { ...options, seed: options.seed + 1 });
      for (const row of [0, 1, 3]) expect(together).not.toContainEqual(next[row]!);
      // Run again, the cache is taken over anew.
      expect(collect(engine, given, options)).toEqual(together);
    });

    test("tells the model's own log-probability of every token", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const prompt = prompts[0]!;
      const seen: [number, number][] = [];
      const options = {
        ...hot,
        maxTokens: 5,
        onLogProb: (_row: number, id: number, logProb: number) => seen.push([id, logProb]),
      };
      const [row] = collect(engine, [prompt], options);
      expect(seen.map(([id]) => id)).toEqual(row!);
      const ids = [...prompt];
      for (const [id, logProb] of seen) {
        const logits = engine.nextLogits(ids);
        const total = logits.reduce((sum, v) => sum + Math.exp(v - logits[id]!), 0);
        expect(logProb).toBeCloseTo(-Math.log(total), 4);
        ids.push(id);
      }
    });

    test("a bias forces or forbids a token; a frequency penalty keeps it from coming back", () => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const biased = (value: number, more: object = {}) =>
        collect(engine, [prompts[0]!], { ...greedy, logitBias: new Map([[7, value]]), ...more })[0]!;
      expect(biased(1000)).toEqual(new Array(12).fill(7));
      const plain = collect(engine, [prompts[0]!], greedy)[0]!;
      const without = collect(engine, [prompts[0]!], { ...greedy, logitBias: new Map([[plain[0]!, -1000]]) })[0]!;
      expect(without).not.toContain(plain[0]!);
      const fading = biased(1000, { frequencyPenalty: 400 }).filter((id) => id === 7).length;
      expect([2, 3]).toContain(fading);
      expect(biased(50, { presencePenalty: 100 }).filter((id) => id === 7).length).toBe(1);
    });

    test.each([
      ["no tokens", [], /has no tokens/],
      ["more tokens than the context", Array.from({ length: 33 }, () => 1), /33 tokens, and the model's context is 32/],
      ["a token that is not in the vocabulary", [50], /token 50 is not in/],
    ])("refuses a prompt of %s", (_name, prompt, message) => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      expect(() => [...engine.generate([prompt], greedy)]).toThrow(message);
    });
  });
});

test("the likeliest next tokens have the softmax's probabilities", () => {
  expect(likeliest(Float32Array.from([0, Math.log(3), Math.log(4)]), 2)).toEqual([
    { id: 2, probability: expect.closeTo(0.5, 6), logProb: expect.closeTo(Math.log(0.5), 6) },
    { id: 1, probability: expect.closeTo(0.375, 6), logProb: expect.closeTo(Math.log(0.375), 6) },
  ]);
});

onEachDevice(() => {
  describe("text", () => {
    // 49 characters and the end of text: the toy model's 50 tokens.
    const alphabet = Array.from({ length: 49 }, (_, i) => String.fromCharCode(65 + i)).join("");
    const tokenizer = tokenizerFrom(trainCharacters([alphabet]));
    const run = (prompt: string, options: object) => {
      using made = toyModel();
      using engine = new Engine(device(), made.model, [made.weights]);
      const pieces = complete({ engine, tokenizer }, [prompt], { ...greedy, ...options });
      const texts: string[] = [];
      let step = pieces.next();
      for (; !step.done; step = pieces.next()) texts.push(step.value.text);
      return { text: texts.join(""), texts, ending: step.value[0]! };
    };

    test("streams what is generated", () => {
      const { text, texts, ending } = run("DH", {});
      expect(texts.length).toBeGreaterThan(1);
      expect(ending).toEqual({ reason: "length", tokens: 12 });
      expect(text.length).toBe(12);
    });
    test("is cut before a stop string, of which no part is given out", () => {
      const { text } = run("DH", {});
      const stop = text.slice(5, 8);
      const cut = run("DH", { stop: ["never", stop] });
      expect(cut.text).toBe(text.slice(0, text.indexOf(stop)));
      expect(cut.ending.reason).toBe("stop");
    });
    test("held back for a stop string that does not come is given out at the end", () => {
      const { text } = run("DH", {});
      expect(run("DH", { stop: [`${text.at(-1)}~~~`] }).text).toBe(text);
    });
  });
});
