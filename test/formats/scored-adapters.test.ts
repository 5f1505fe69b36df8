/** Reward models in Hugging Face's files: a classifier of transformers' (test/golden/scores.py); adapters with a scalar head: PEFT's own read (test/golden/peft_reward.py), ours written, read, and merged with their normalisation. */
import { expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { mergeModel } from "../../src/app/merge";
import { openModel } from "../../src/app/model";
import { scoresOf } from "../../src/eval/scores";
import { loadModel } from "../../src/formats/checkpoint";
import { readNormalisation, writeNormalisation } from "../../src/formats/normalisation";
import { openAdapter, readAdapter, writeAdapter } from "../../src/formats/peft";
import { SCORE } from "../../src/model/architecture";
import { type Model, modelOf, withAdapters } from "../../src/model/model";
import { parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { writeTokenizer } from "../../src/text/tokenizer";
import golden from "../golden/peft/reward/scores.json";
import whole from "../golden/scores.json";
import { bytes } from "../support/comparing";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";

const BASE = "test/golden/layouts/transformers";
const REWARD = "test/golden/peft/reward";
const sequences = golden.rows.map((row) => Uint32Array.from(row));

async function scored(model: Model, slabs: readonly Slab[], given = sequences): Promise<number[]> {
  const found: number[] = [];
  const length = Math.max(...given.map(({ length }) => length));
  for await (const [at, score] of scoresOf({ device: device(), model, slabs, rows: 4, length }, given))
    found[at] = score;
  return found;
}

function expectClose(found: readonly number[], wanted: readonly number[]): void {
  for (const [i, score] of wanted.entries()) expect(Math.abs(found[i]! - score)).toBeLessThan(1e-5);
}

onEachDevice(() => {
  test("a classifier of transformers' has its scores of sequences of unequal length, alone and padded", async () => {
    const { model, weights } = await loadModel(device(), "test/golden/classifier");
    using slab = weights;
    const found = await scored(
      model,
      [slab],
      whole.ids.map((row) => Uint32Array.from(row)),
    );
    expectClose(found, whole.alone);
    expectClose(found, whole.padded);
  });

  test("PEFT's adapter of a sequence classifier gives the scores that transformers gives, alone and padded", async () => {
    const { model, weights } = await loadModel(device(), BASE);
    using base = weights;
    using stored = openAdapter(REWARD, model);
    using adapter = stored.load(device());
    const found = await scored(withAdapters(model, [stored.adapter]), [base, adapter]);
    expectClose(found, golden.alone);
    expectClose(found, golden.padded);
  });

  test("written it is read back to the bit", async () => {
    const { model, weights } = await loadModel(device(), BASE);
    using _base = weights;
    using stored = openAdapter(REWARD, model);
    using slab = stored.load(device());
    using folder = temporaryFolder();
    await writeAdapter(folder.path, { adapter: stored.adapter, weights: slab, base: "x/y", trainedOn: "f32" });
    const json = JSON.parse(readFileSync(join(folder.path, "adapter_config.json"), "utf8"));
    expect([json.task_type, json.modules_to_save]).toEqual(["SEQ_CLS", ["classifier", "score"]]);
    using again = new Slab(device(), stored.adapter.parameters);
    readAdapter(folder.path, again);
    expect(again.download()).toEqual(slab.download());
  });
});

test("merged it is a reward model of the same scores, its normalisation carried over", async () => {
  using folder = temporaryFolder();
  const [base, adapter, merged] = ["base", "adapter", "merged"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  cpSync(BASE, base, { recursive: true });
  cpSync(REWARD, adapter, { recursive: true });
  mkdirSync(join(folder.path, "tokens"));
  await writeTokenizer(join(folder.path, "tokens"), bytes.files);
  writeNormalisation(adapter, { gain: 2.5, bias: -0.25 });
  expect(readNormalisation(adapter)).toEqual({ gain: 2.5, bias: -0.25 });
  expect(readNormalisation(base)).toBeNull();
  const parts = { base, adapters: [adapter], tokenizer: join(folder.path, "tokens") };
  await expect(mergeModel(parts, merged)).rejects.toThrow("the tokenizer has 257 tokens, and the model 37");
  const words = { ...JSON.parse(JSON.stringify(bytes.files.tokenizer)) };
  const kept = Object.fromEntries(
    Object.entries(words.model.vocab as Record<string, number>).filter(([, id]) => id < 36),
  );
  words.model.vocab = kept;
  words.added_tokens = [{ ...words.added_tokens[0], id: 36 }];
  await writeTokenizer(join(folder.path, "tokens"), { ...bytes.files, tokenizer: words });
  await mergeModel(parts, merged);
  expect(readNormalisation(merged)).toEqual({ gain: 2.5, bias: -0.25 });
  using opened = await openModel(device("cpu"), resolve(merged));
  expect(opened.model.scored).toBe(true);
  const found: number[] = [];
  for await (const [at, score] of scoresOf(
    { device: device("cpu"), model: opened.model, slabs: opened.slabs, rows: 4, length: 12 },
    sequences,
  ))
    found[at] = score;
  expectClose(found, golden.alone);
  expect(JSON.parse(readFileSync(join(merged, "config.json"), "utf8"))).toMatchObject({
    architectures: ["GPT2ForSequenceClassification"],
    pad_token_id: 0,
    score_gain: 2.5,
  });
});

test("a head of several classes, or of another width, is refused", () => {
  const model = modelOf({ type: "gpt2", vocabulary: 37, context: 16, layers: 2, heads: 2, width: 24, epsilon: 1e-5 });
  expect(() => openAdapter(REWARD, model)).toThrow(/score\.weight has shape \[1,16\], expected \[1, 24\]/);
  expect(parameter(modelOf({ ...model.config, scalar: true }).parameters, SCORE).shape).toEqual([1, 24]);
});
