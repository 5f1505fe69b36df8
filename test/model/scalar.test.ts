/** The scalar head: transformers' sequence classifier (test/golden/log_probs.py), read, written, and put on a language model. */
import { describe, expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gradients } from "../../src/autograd/gradients";
import { Program } from "../../src/autograd/program";
import { loadModel, openModelFiles, readModel, scalarOf, writeModel } from "../../src/formats/checkpoint";
import { openSafetensors } from "../../src/formats/safetensors";
import { SCORE } from "../../src/model/architecture";
import { type Model, modelOf } from "../../src/model/model";
import { parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { sum } from "../../src/ops";
import { input } from "../../src/tensor/tensor";
import golden from "../golden/log_probs.json";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { largestError } from "../support/oracle";

const classifier = "test/golden/classifier";
const language = "test/golden/layouts/transformers";
const ids = Uint32Array.from(golden.classifier.tokens);

function scoresOf(model: Model, weights: Slab): Float32Array {
  const [tokens, positions] = [input("tokens", [ids.length], "u32"), input("positions", [ids.length], "u32")];
  const scores = model.scores(model.hidden(tokens, positions, { length: ids.length }));
  using program = new Program(device(), [scores], { bind: weights.bind() });
  program.feed(tokens, ids);
  program.feed(
    positions,
    ids.map((_, i) => i),
  );
  program.run();
  return program.read(scores);
}

onEachDevice(() => {
  test("gives transformers' scores at every token", async () => {
    const { model, weights } = await loadModel(device(), classifier);
    using _weights = weights;
    const scores = scoresOf(model, weights);
    expect(largestError(scores, golden.classifier.scores)).toBeLessThan(1e-5);
    expect(scores.at(-1)!).toBeCloseTo(golden.classifier.last, 4);
  });

  test("written, it has transformers' names, and reads back bit for bit", async () => {
    using folder = temporaryFolder();
    const { model, weights } = await loadModel(device(), classifier);
    using _weights = weights;
    await writeModel(folder.path, model, weights, { endOfText: 7, padding: 7 });
    using theirs = openSafetensors(join(classifier, "model.safetensors"));
    using ours = openSafetensors(join(folder.path, "model.safetensors"));
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    const json = JSON.parse(readFileSync(join(folder.path, "config.json"), "utf8"));
    expect(json).toMatchObject({
      architectures: ["GPT2ForSequenceClassification"],
      id2label: { 0: "LABEL_0" },
      label2id: { LABEL_0: 0 },
      pad_token_id: 7,
    });
    const again = await loadModel(device(), folder.path);
    using _again = again.weights;
    expect(again.weights.download()).toEqual(weights.download());
    using other = new Slab(device(), modelOf(model.config).parameters);
    readModel(folder.path, model, other);
    expect(other.download()).toEqual(weights.download());
  });

  test("a language model gets a fresh one, a function of the seed; its trunk stays as it was", async () => {
    const plain = await loadModel(device(), language);
    using _plain = plain.weights;
    const open = async (score: number) => {
      using stored = await openModelFiles(language, { score });
      return {
        model: stored.model,
        weights: stored.load(device()),
        read: stored.values(parameter(stored.model.parameters, SCORE)),
      };
    };
    const [one, same, other] = [await open(3), await open(3), await open(4)];
    expect(one.model.config.scalar).toBe(true);
    const score = (made: typeof one) => made.weights.read(parameter(made.model.parameters, SCORE));
    expect(score(one)).toEqual(score(same));
    expect(score(one)).toEqual(one.read as Float32Array<ArrayBuffer>);
    expect(score(one)).not.toEqual(score(other));
    for (const { name } of plain.model.parameters.list)
      expect(one.weights.read(parameter(one.model.parameters, name))).toEqual(
        plain.weights.read(parameter(plain.model.parameters, name)),
      );
    for (const { weights } of [one, same, other]) weights[Symbol.dispose]();
  });
});

describe("a scalar head", () => {
  test("has gradients for the trunk and for itself", () => {
    const model = modelOf({
      type: "gpt2",
      vocabulary: 50,
      context: 8,
      layers: 1,
      heads: 1,
      width: 8,
      epsilon: 1e-5,
      scalar: true,
    });
    const [tokens, positions] = [input("tokens", [4], "u32"), input("positions", [4], "u32")];
    const scores = model.scores(model.hidden(tokens, positions, { length: 4 }));
    expect(scores.shape).toEqual([4]);
    const targets = model.parameters.list.map(({ tensor }) => tensor);
    expect(gradients(sum(scores), targets).every((grad) => grad !== null)).toBe(true);
  });
  test("takes the place of a head's own table", () => {
    const untied = {
      type: "gpt2",
      vocabulary: 50,
      context: 8,
      layers: 1,
      heads: 1,
      width: 8,
      epsilon: 1e-5,
      tied: false,
    };
    const names = (scalar: boolean) =>
      modelOf(scalar ? scalarOf(untied) : untied).parameters.list.map(({ name }) => name);
    expect(names(false)).toContain("lm_head.weight");
    expect(names(true)).not.toContain("lm_head.weight");
    expect(names(true)).toContain(SCORE);
  });
  test("of two labels is refused", async () => {
    using folder = temporaryFolder();
    cpSync(classifier, folder.path, { recursive: true });
    const path = join(folder.path, "config.json");
    const json = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...json, id2label: { 0: "no", 1: "yes" } }));
    await expect(loadModel(device("cpu"), folder.path)).rejects.toThrow(
      "the classifier has 2 labels, and a scalar head has one",
    );
    await Bun.sleep(0);
  });
});
