/** A model that programs open: what it gives is what the engine, the scoring and the command line give. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { DawngradError, type LanguageModel, type OpenOptions, open, type TokenLogProb } from "dawngrad";
import { type OpenModel, openModel } from "../../src/app/model";
import { openDevice } from "../../src/device/open";
import { score } from "../../src/eval/perplexity";
import { likeliest } from "../../src/generate/probabilities";
import { sampling } from "../../src/generate/sampling";
import { temporaryFolder } from "../support/folder";
import { writeToy } from "../support/talking";

const folder = temporaryFolder();
const [toy, slow, scorer] = ["toy", "slow", "scorer"].map((name) => join(folder.path, name)) as [
  string,
  string,
  string,
];
const device = openDevice("cpu");
let inner: OpenModel;
let model: LanguageModel;

beforeAll(async () => {
  await writeToy(toy);
  await writeToy(slow, { slow: true });
  await writeToy(scorer, { scalar: true });
  inner = await openModel(device, toy);
  model = await open(toy, { device: "cpu" });
});
afterAll(() => {
  for (const one of [model, inner, device, folder]) one[Symbol.dispose]();
});

const text = "Pip lives by the mill, and Ada by the hill. ".repeat(12);
const sampled = { temperature: 0.9, topK: 30, topP: 0.95, seed: 7, maxTokens: 40 };

async function sentenceOf(work: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    if (error instanceof DawngradError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function dawngrad(...words: string[]): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, "src/main.ts", ...words, "--device", "cpu"]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

describe("text", () => {
  test("is encoded and decoded by the model's tokenizer, and an end token in it is letters unless it is meant", () => {
    expect(model.encode(text)).toEqual(inner.tokenizer.encode(text));
    expect(model.decode(model.encode(text))).toBe(text);
    const end = model.decode([model.endOfText!]);
    expect(model.encode(end, { special: true })).toEqual([model.endOfText!]);
    expect(() => model.encode(end)).toThrow("no token for");
  });
  test("at temperature 0 is what the engine writes", async () => {
    const prompt = inner.tokenizer.encode("Pip ");
    const options = sampling.parse({ temperature: 0, maxTokens: 30 });
    const ids = [...inner.engine.generate([prompt], options)].map(([id]) => id!);
    const { text, tokens, reason } = await model.generate("Pip ", { temperature: 0, maxTokens: 30 });
    expect(model.encode(text)).toEqual(ids);
    expect({ tokens, reason }).toEqual({ tokens: 30, reason: "length" });
    expect(await model.generate(prompt, { temperature: 0, maxTokens: 30 })).toEqual({ text, tokens, reason });
  });
  test("of many prompts and samples is what the command line writes, with its log-probabilities, in batches of any size", async () => {
    const flags = ["--temperature", "0.9", "--top-k", "30", "--top-p", "0.95", "--seed", "7", "--max-tokens", "40"];
    const more = ["--repetition-penalty", "1.2", "--min-p", "0.01", "--presence-penalty", "0.3", "--stop", "q"];
    const bias = ["--frequency-penalty", "0.2", "--logit-bias", "5=2", "--stop-id", "9", "--logprobs", "--json"];
    const prompts = ["--prompt", "Pip ", "--prompt", "Ada", "--prompt", "Pip ", "--samples", "2"];
    const lines = dawngrad("generate", "--model", toy, ...prompts, ...flags, ...more, ...bias)
      .trim()
      .split("\n");
    const told = lines.map((line) => JSON.parse(line)).map(({ prompt: _, ...completion }) => completion);
    const penalties = { repetitionPenalty: 1.2, presencePenalty: 0.3, frequencyPenalty: 0.2, minP: 0.01 };
    const ends = { stop: "q", stopIds: [9], logitBias: { 5: 2 }, logProbs: true };
    const options = { ...sampled, ...penalties, ...ends, samples: 2 };
    expect(told).toHaveLength(6);
    expect(new Set(told.map(({ text }) => text)).size).toBe(6);
    for (const batch of [1, 8])
      expect(await model.generateMany(["Pip ", "Ada", "Pip "], { ...options, batch })).toEqual(told);
  });
  test("is the same streamed, and the stream says how it ended", async () => {
    const whole = await model.generate("Pip ", sampled);
    const stream = model.stream("Pip ", sampled);
    const pieces: string[] = [];
    for await (const piece of stream) {
      expect(stream.completion).toBeNull();
      pieces.push(piece);
    }
    expect(pieces.length).toBeGreaterThan(20);
    expect(pieces.join("")).toBe(whole.text);
    expect(stream.completion).toEqual(whole);
    for await (const piece of stream) throw new Error(`a stream that was read gave ${piece}`);
  });
  test("is followed by the tokens that the engine's logits say", async () => {
    const prompt = inner.tokenizer.encode("Pip ");
    const wanted = likeliest(inner.engine.nextLogits(prompt), 5);
    const found = await model.next("Pip ", { top: 5 });
    expect(found.map(({ text: _, ...rest }) => rest)).toEqual(wanted);
    expect(found.map(({ text }) => text)).toEqual(wanted.map(({ id }) => model.decode([id])));
  });
});

describe("log-probabilities", () => {
  test.each([{}, { stride: 256 }, { context: 64, stride: 16 }])(
    "of a text add up to its perplexity's, %p",
    async (window) => {
      const ids = Uint32Array.from(inner.tokenizer.encode(text));
      expect(ids.length).toBeGreaterThan(model.context);
      const { context = model.context } = window as { context?: number };
      const { stride = context >> 1 } = window as { stride?: number };
      const { nats } = await score({ ...inner, device }, ids, { context, stride });
      const [first, ...others] = await model.logProbs(text, window);
      expect(first).toEqual({ id: ids[0]!, token: "P", logProb: null });
      expect([first!, ...others].map(({ id }) => id)).toEqual([...ids]);
      const sum = others.reduce((sum, { logProb }) => sum - logProb!, 0);
      expect(sum).toBeCloseTo(nats, 2);
      expect(others.every(({ logProb }) => logProb! < 0)).toBe(true);
    },
  );
  test("of texts of no token or one need no model", async () => {
    expect(await model.logProbs("")).toEqual([]);
    expect(await model.logProbs("P")).toEqual([{ id: model.encode("P")[0]!, token: "P", logProb: null }]);
  });
  test("of completions are those of their tokens in the text as a whole, and those that generation told, to the bit", async () => {
    const written = await model.generate("Pip ", { ...sampled, logProbs: true });
    const pairs = [
      { prompt: "Pip ", completion: written.text },
      { prompt: "Ada met", completion: " Pip" },
    ];
    const [one, two] = await model.logProbsOf(pairs);
    // White space at the prompt's end is the completion's.
    expect(one!.tokens.slice(1)).toEqual([...written.logProbs!]);
    const whole = await model.logProbs("Ada met Pip");
    expect(two!.tokens).toEqual(whole.slice(-4) as TokenLogProb[]);
    for (const { logProb, tokens, cut } of [one!, two!]) {
      expect(logProb).toBeCloseTo(
        tokens.reduce((sum, one) => sum + one.logProb, 0),
        3,
      );
      expect(cut).toBe(0);
    }
    expect(await model.logProbsOf(pairs, { batch: 1 })).toEqual([one!, two!]);
    const said = await model.generate("Pip", { temperature: 0, maxTokens: 8 });
    const [likeliest, other] = await model.logProbsOf(
      [said.text, "zzzz"].map((completion) => ({ prompt: "Pip", completion })),
    );
    expect([likeliest!.greedy, other!.greedy]).toEqual([true, false]);
    const [long] = await model.logProbsOf([{ prompt: text, completion: "x" }]);
    expect(long!.cut).toBe(inner.tokenizer.encode(`${text}x`).length - model.context - 1);
    expect(await model.logProbsOf([])).toEqual([]);
  });
});

describe("what is asked at the same time", () => {
  const long = { temperature: 0, maxTokens: 1_000_000 };

  test("is done one after another, each as if it were alone", async () => {
    const alone = [await model.generate("Pip ", sampled), await model.generate("Ada", { ...sampled, seed: 8 })];
    const next = await model.next("Ada");
    const found = await Promise.all([
      model.generate("Pip ", sampled),
      model.next("Ada"),
      model.generate("Ada", { ...sampled, seed: 8 }),
    ]);
    expect(found).toEqual([alone[0]!, next, alone[1]!]);
  });
  test("may be asked inside a stream's loop", async () => {
    const whole = await model.generate("Pip ", sampled);
    let text = "";
    let other = "";
    for await (const piece of model.stream("Pip ", sampled)) {
      text += piece;
      other ||= (await model.generate("Ada", { maxTokens: 3 })).text;
    }
    expect(text).toBe(whole.text);
    expect(other).toBe((await model.generate("Ada", { maxTokens: 3 })).text);
  });
  test("does not wait for a stream that was left, aborted, or never read", async () => {
    using slowly = await open(slow, { device: "cpu" });
    slowly.stream("Pip ", long);
    let pieces = 0;
    const left = slowly.stream("Pip ", long);
    for await (const _ of left) if (++pieces === 2) break;
    expect(left.completion).toBeNull();
    const aborting = new AbortController();
    const read = async () => {
      for await (const _ of slowly.stream("Pip ", { ...long, signal: aborting.signal })) {
        pieces++;
        aborting.abort();
      }
    };
    await expect(read()).rejects.toThrow(aborting.signal.reason);
    expect(pieces).toBe(3);
    expect((await slowly.generate("Ada", { maxTokens: 2 })).tokens).toBe(2);
  });
  test("may be aborted while it waits, and while it works", async () => {
    using slowly = await open(slow, { device: "cpu" });
    const [working, waiting] = [new AbortController(), new AbortController()];
    const first = slowly.generate("Pip ", { ...long, signal: working.signal });
    const second = slowly.logProbs("Pip", { signal: waiting.signal });
    const third = slowly.generate("Ada", { maxTokens: 2 });
    const of = (one: Promise<unknown>) => one.catch((error: unknown) => error);
    waiting.abort(new Error("not any more"));
    expect(await of(second)).toEqual(new Error("not any more"));
    expect(Bun.peek.status(first)).toBe("pending");
    working.abort();
    expect(await of(first)).toBe(working.signal.reason);
    expect((await third).tokens).toBe(2);
    await expect(slowly.generate("Ada", { signal: working.signal })).rejects.toThrow(working.signal.reason);
  });
});

describe("a model that is closed", () => {
  test("refuses whatever is asked, and ends what is under way", async () => {
    const closed = await open(slow, { device: "cpu" });
    const chat = closed.chat();
    const stream = closed.stream("Pip ");
    const working = closed.generate("Pip ", { maxTokens: 1_000_000 });
    const waiting = closed.logProbs("Pip");
    await Bun.sleep(20);
    expect(Bun.peek.status(working)).toBe("pending");
    closed[Symbol.dispose]();
    closed[Symbol.dispose]();
    const read = async () => {
      for await (const piece of stream) throw new Error(`it wrote ${piece}`);
    };
    const asked = [
      working,
      waiting,
      () => closed.encode("a"),
      () => closed.decode([1]),
      () => closed.next("a"),
      () => closed.generate("a"),
      () => closed.generateMany(["a"]),
      () => closed.stream("a"),
      () => closed.logProbs("a"),
      () => closed.logProbsOf([]),
      () => closed.chat(),
      () => chat.say("a"),
      read,
    ];
    for (const one of asked) expect(await sentenceOf(one)).toBe(`the model ${slow} is closed`);
  });
});

describe("a mistake is told in a sentence, with a hint", () => {
  test.each<[string, (model: LanguageModel) => unknown]>([
    ["temperature: Too small: expected number to be >=0", (m) => m.generate("a", { temperature: -1 })],
    ["topk: unknown key; did you mean topK?", (m) => m.generate("a", { topk: 3 } as object)],
    ["samples: unknown key", (m) => m.generate("a", { samples: 3 } as object)],
    ["logitBias.x: Invalid key", (m) => m.generate("a", { logitBias: { x: 1 } })],
    ["90000 is not a token id", (m) => m.generate("a", { logitBias: { 90000: 1 } })],
    ["what was given is neither a text nor an array of token ids", (m) => m.generate(3 as never)],
    ["what was given is neither a text nor an array of token ids", (m) => m.logProbs({} as never)],
    ["1.5 is not a token id", (m) => m.generate([1.5])],
    ["-1 is not a token id", (m) => m.decode([-1])],
    ["a prompt has no tokens", (m) => m.stream([])],
    ["the prompt has 528 tokens, and the model's context is 256", (m) => m.next(text)],
    ["a window of 64 tokens and a stride of 65 were asked for", (m) => m.logProbs("a", { context: 64, stride: 65 })],
    [
      'pair 2: "" has no token of its own',
      (m) =>
        m.logProbsOf([
          { prompt: "a", completion: "b" },
          { prompt: "a", completion: "" },
        ]),
    ],
    ["there is no chat template nowhere.jinja", (m) => m.chat({ template: "nowhere.jinja" })],
    ["signal: expected AbortSignal", (m) => m.generate("a", { signal: "now" as never })],
  ])("%s", async (sentence, mistake) => {
    expect(await sentenceOf(() => mistake(model))).toStartWith(sentence);
  });
  test.each<[string, string, OpenOptions]>([
    ["no model at", "/nowhere/at/all", {}],
    ["SCORER is a reward model, and a model that writes is wanted", scorer, {}],
    ["device: expected string", toy, { device: 3 as never }],
    ["--threads is for the CPU device", toy, { device: "gpu", threads: 2 }],
    ["storage: ", toy, { storage: "f64" as never }],
    ["TOY is not an adapter", toy, { adapters: [toy] }],
    ["TOY has no adapter of its own", toy, { baseOnly: true }],
  ])("%s", async (sentence, name, options) => {
    const wanted = sentence.replace("SCORER", scorer).replace("TOY", toy);
    const opening = open(name, { device: "cpu", ...options });
    expect(await sentenceOf(opening)).toStartWith(wanted);
  });
  test("and names the options of programs in its hint", async () => {
    const error = await model.generate("a", { topk: 3 } as object).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(DawngradError);
    expect((error as DawngradError).hint).toBe("docs/api.md lists the options");
  });
});

test("a model is held as it is asked to be", async () => {
  using half = await open(toy, { device: "cpu", storage: "bf16", threads: 1 });
  const [found, whole] = [await half.next("Pip ", { top: 1 }), await model.next("Pip ", { top: 1 })];
  expect(found[0]!.logProb).not.toBe(whole[0]!.logProb);
  expect(found[0]!.logProb).toBeCloseTo(whole[0]!.logProb, 0);
});
