/** Multiple choice against lm-evaluation-harness itself, and against log-probabilities that a plain loop adds up. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readingBy } from "../../src/app/locate";
import { openModel } from "../../src/app/model";
import { interpret } from "../../src/autograd/interpret";
import { capitalised, questionsIn, type TaskName, tasks, trimmedEnd } from "../../src/eval/choice-tasks";
import { continuationsOf, picksOf } from "../../src/eval/choices";
import { likelihoods } from "../../src/eval/continuations";
import { measureChoices } from "../../src/stages/evals/choose";
import { input } from "../../src/tensor/tensor";
import golden from "../golden/choice.json";
import { silent } from "../support/console";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { letterTokenizer } from "../support/talking";

const directory = join(import.meta.dir, "..", "golden", "choice");
const open = () => openModel(device(), { base: directory, adapters: [], tokenizer: directory });

interface Golden {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly requests: readonly (readonly (readonly string[])[])[];
  readonly log_likelihoods: readonly (readonly number[])[];
  readonly greedy: readonly (readonly boolean[])[];
  readonly metrics: Readonly<Record<string, number | undefined>>;
}

const all = Object.entries(golden.tasks).map(
  ([task, files]) => [task as TaskName, Object.entries(files as unknown as Record<string, Golden>)] as const,
);

function write(path: string, rows: readonly object[]): string {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

onEachDevice(() => {
  test.each(all)("%s is what lm-evaluation-harness makes of it", async (task, files) => {
    using folder = temporaryFolder();
    using opened = await open();
    for (const [name, { rows, log_likelihoods, greedy, metrics }] of files) {
      const data = write(join(folder.path, `${name.replace(".jsonl", "")}.jsonl`), rows);
      const options = { task, data, limit: 0, batch: 3 };
      const notes: string[] = [];
      const console = { ...silent, note: (line: string) => notes.push(line) };
      const { records, figures } = await measureChoices({ ...opened, device: device() }, options, readingBy(console));
      // As many as the harness warned of.
      const warned = { hellaswag: 5, arc: 4, blimp: 0, lambada: 1, choice: 2 }[task];
      const count = log_likelihoods.flat().length;
      expect(notes).toEqual(
        warned > 0
          ? [`cut on the left, since it has more than 64 tokens: the context of ${warned} of ${count} continuations`]
          : [],
      );
      records.forEach((record, i) => {
        record.log_likelihoods.forEach((value, j) => {
          expect(Math.abs(value - log_likelihoods[i]![j]!)).toBeLessThan(1e-4);
        });
        expect(record.log_likelihoods.length).toBe(log_likelihoods[i]!.length);
        expect(record.greedy).toEqual(greedy[i]!);
      });
      expect(figures.records).toBe(rows.length);
      expect(Object.keys(figures.metrics)).toEqual([...tasks[task].metrics]);
      for (const [metric, { value, stderr }] of Object.entries(figures.metrics)) {
        if (metric === "perplexity") {
          expect(Math.abs(value / metrics.perplexity! - 1)).toBeLessThan(1e-4);
          continue;
        }
        expect(value).toBe(metrics[metric]!);
        expect(stderr).toBeCloseTo(metrics[`${metric}_stderr`]!, 12);
      }
    }
    // A folder's figures are the means of its files', each with the same weight.
    const each = files.map(([, { metrics }]) => metrics);
    const whole = { task, data: folder.path, limit: 0, batch: 3 };
    const { figures } = await measureChoices({ ...opened, device: device() }, whole, readingBy(silent));
    const mean = each.reduce((sum, { acc }) => sum + acc!, 0) / each.length;
    expect(figures.metrics.acc!.value).toBeCloseTo(mean, 12);
    expect(figures.metrics.acc!.stderr).toBeCloseTo(Math.hypot(...each.map((m) => m.acc_stderr!)) / each.length, 12);
    expect(Object.keys(figures.files ?? {})).toEqual(each.length > 1 ? ["agreement", "islands"] : []);
  });

  test("a continuation is worth the same alone and in company, and what a plain loop says in float64", async () => {
    using opened = await open();
    const { model, slabs, tokenizer, weights } = opened;
    const { vocabulary } = model.config;
    const parameters = model.parameters.list.map(
      (each) => [each.tensor, Float64Array.from(weights.read(each))] as const,
    );
    /** Logits [T, V] of the whole forward pass in float64, on no device. */
    const exact = (ids: Uint16Array | Uint32Array) => {
      const length = ids.length;
      const [tokens, positions] = [input("tokens", [length], "u32"), input("positions", [length], "u32")];
      const logits = model.logits(model.hidden(tokens, positions, { length }));
      const places = Float64Array.from({ length }, (_, i) => i);
      return interpret([logits], new Map([...parameters, [tokens, Float64Array.from(ids)], [positions, places]]))[0]!;
    };
    const rows = all.flatMap(([task, files]) =>
      files.flatMap(([, { rows }]) =>
        questionsIn(
          rows.map((fields) => ({ fields, where: "a row" })),
          task,
        ),
      ),
    );
    const asked = rows.flatMap((row) => continuationsOf(row, tokenizer, 64));
    const found = async (some: typeof asked, rows: number) => {
      const values: { logLikelihood: number; greedy: boolean }[] = [];
      const scoring = { device: device(), model, slabs, rows, length: 64 };
      for await (const [at, value] of likelihoods(scoring, some)) values[at] = value;
      return values;
    };
    const together = await found(asked, 16);
    expect(together.length).toBe(asked.length);
    expect(asked.some(({ ids }) => ids.length === 65)).toBe(true);
    for (const [i, one] of asked.entries()) {
      if (i % 6 !== 0 && !together[i]!.greedy) continue;
      const [alone] = await found([one], 1);
      if (device().info.kind === "cpu") expect(alone).toEqual(together[i]!);
      else expect(Math.abs(alone!.logLikelihood - together[i]!.logLikelihood)).toBeLessThan(1e-4);
      const logits = exact(one.ids.subarray(0, -1));
      let sum = 0;
      let greedy = true;
      for (let t = one.from; t < one.ids.length; t++) {
        const row = logits.subarray((t - 1) * vocabulary, t * vocabulary);
        const most = row.reduce((a, b) => Math.max(a, b));
        sum += row[one.ids[t]!]! - most - Math.log(row.reduce((total, v) => total + Math.exp(v - most), 0));
        greedy &&= row.indexOf(most) === one.ids[t]!;
      }
      expect(Math.abs(sum - together[i]!.logLikelihood)).toBeLessThan(1e-4);
      expect(together[i]!.greedy).toBe(greedy);
    }
  });
});

test.each(all)("%s: contexts and continuations are the harness's, letter by letter", (task, files) => {
  for (const [, { rows, requests }] of files) {
    const asked = questionsIn(
      rows.map((fields) => ({ fields, where: "a row" })),
      task,
    );
    const texts = asked.map(({ context, continuations }) => continuations.map((each) => [context, each]));
    expect(texts).toEqual(requests.map((row) => row.map(([context, each]) => [context!, each!])));
  }
});

describe("a record", () => {
  const good = {
    hellaswag: { activity_label: "Rowing", ctx_a: "A man rows.", ctx_b: "he", endings: ["sings.", "eats."], label: 1 },
    arc: { question: "Which?", choices: { text: ["this", "that"], label: ["A", "B"] }, answerKey: "B" },
    blimp: { sentence_good: "It is.", sentence_bad: "It are." },
    lambada: { text: "one two" },
    choice: { context: "It is", choices: ["so", "not so"], gold: 1 },
  } as const;
  const read = (task: TaskName, fields: object) => questionsIn([{ fields: { ...fields }, where: "x.jsonl:3" }], task);
  test.each(Object.entries(good))("of %s is read", (task, fields) => {
    expect(read(task as TaskName, fields)[0]!.where).toBe("x.jsonl:3");
  });
  test.each<[TaskName, object, string]>([
    ["hellaswag", { ...good.hellaswag, label: "" }, 'label is "", expected a number from 0 to 1'],
    ["hellaswag", { ...good.hellaswag, label: "2" }, 'label is "2", expected a number from 0 to 1'],
    ["hellaswag", { ...good.hellaswag, endings: "sings." }, "endings: expected array, received string"],
    ["hellaswag", good.arc, "activity_label: expected string, received undefined"],
    ["arc", { ...good.arc, answerKey: "C" }, 'answerKey is "C", and the labels are A, B'],
    ["arc", { ...good.arc, choices: { text: ["this"], label: ["A", "B"] } }, "choices has 1 texts and 2 labels"],
    ["arc", { ...good.arc, choices: ["this", "that"] }, "choices: expected object, received array"],
    ["blimp", { sentence_good: "It is." }, "sentence_bad: expected string, received undefined"],
    ["lambada", { text: "" }, "text: expected a text with a word"],
    ["lambada", good.blimp, "text: expected string, received undefined"],
    ["choice", { ...good.choice, gold: 2 }, "gold is 2, expected a number from 0 to 1"],
    ["choice", { ...good.choice, gold: -1 }, "gold is -1, expected a number from 0 to 1"],
    ["choice", { ...good.choice, gold: 0.5 }, "gold is 0.5, expected a number from 0 to 1"],
    ["choice", { context: "It is", choices: ["so"], answer: "no" }, 'answer is "no", expected a number from 0 to 0'],
    ["choice", { choices: ["so"], gold: 0 }, "context: expected string"],
    ["choice", { query: 3, choices: ["so"], gold: 0 }, "query: expected string"],
    ["choice", { ...good.choice, choices: [] }, "choices:"],
    ["choice", { context: "It is", choices: ["so"] }, "gold is undefined, expected a number from 0 to 0"],
  ])("of %s that is %j is refused", (task, fields, problem) => {
    const { fields: names } = tasks[task];
    const refusal = (() => {
      try {
        return JSON.stringify(read(task, fields));
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(refusal).toStartWith(`x.jsonl:3 is no record of ${task}, which has ${names}: ${problem}`);
  });
  test("of multiple choice may name its fields otherwise, and the right choice by its text", () => {
    const [one] = read("choice", { query: "It is", choices: ["so", "not so"], answer: "not so" });
    expect(one).toMatchObject({ context: "It is", gold: 1, continuations: [" so", " not so"] });
    // A number that is a choice's text is that choice.
    expect(read("choice", { context: "2 + 1 =", choices: ["1", "3"], gold: "1" })[0]!.gold).toBe(0);
  });
});

test("a tie goes to the first, and an empty choice is never the likeliest a character", () => {
  const of = (...values: number[]) => values.map((logLikelihood) => ({ logLikelihood, greedy: false }));
  expect(picksOf({ choices: ["ab", "cd", "é"] }, of(-2, -2, -2))).toEqual({ acc: 0, acc_norm: 0, acc_bytes: 0 });
  expect(picksOf({ choices: ["a", "éé", "abcd"] }, of(-3, -5, -10))).toEqual({ acc: 0, acc_norm: 1, acc_bytes: 1 });
  expect(picksOf({ choices: ["", "a"] }, of(-1, -9))).toEqual({ acc: 0, acc_norm: 1, acc_bytes: 1 });
});

test("what cannot be scored is told", () => {
  const tokenizer = letterTokenizer();
  const asked = { where: "x.jsonl:1", context: "", continuations: [" a"], choices: ["a"], gold: 0 };
  expect(tokenizer.endOfText).not.toBeNull();
  expect(() => continuationsOf(asked, { ...tokenizer, endOfText: null }, 8)).toThrow(
    "x.jsonl:1 has no context, for which the end-of-text token stands, and the tokenizer has none",
  );
  const long = { ...asked, context: "so", continuations: [" abcdefgh"] };
  expect(() => continuationsOf(long, tokenizer, 8)).toThrow("x.jsonl:1: a continuation has 9 tokens, and the model's");
  expect(continuationsOf(long, tokenizer, 9)[0]).toMatchObject({ from: 1, ids: { length: 10 }, lost: 1 });
  expect(() => continuationsOf({ ...long, continuations: [""] }, tokenizer, 8)).toThrow("has no token of its own");
  // A context of nothing but white space is none, and the white space is predicted.
  const [blank] = continuationsOf({ ...asked, context: " \n" }, tokenizer, 8);
  expect([...blank!.ids]).toEqual([tokenizer.endOfText!, ...tokenizer.encode(" \n a")]);
});

test("letters and white space are Python's", () => {
  const cases = [
    ["the McDonald", "The mcdonald"],
    ["ÉMILE ß", "Émile ß"],
    ["ßA", "Ssa"],
    ["ﬁNE", "Fine"],
    ["ΑΣ", "Ας"],
    ["ΣΑΣ", "Σας"],
    ["İI", "İi"],
    ["𐐨𐐀", "𐐀𐐨"],
    ["", ""],
  ] as const;
  for (const [text, wanted] of cases) expect(capitalised(text)).toBe(wanted);
  expect(trimmedEnd("a \u0085\u001c\u00a0\u3000")).toBe("a");
  expect(trimmedEnd("a\ufeff")).toBe("a\ufeff");
});
