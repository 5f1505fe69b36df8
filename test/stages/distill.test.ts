/** Distillation: TRL's values, a student that is its teacher, invariance, copied layers, the hidden states' losses, and what is refused. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { gradients } from "../../src/autograd/gradients";
import { interpret } from "../../src/autograd/interpret";
import { Program } from "../../src/autograd/program";
import { copyLayers, spreadLayers } from "../../src/model/copied-layers";
import { type Distilling, towards } from "../../src/model/distillation";
import { apart, unrelated } from "../../src/model/hidden-losses";
import { type Model, modelOf } from "../../src/model/model";
import { nextToken } from "../../src/model/next-token";
import { parameter } from "../../src/model/parameters";
import { bindAll, Slab } from "../../src/model/slab";
import { IGNORE } from "../../src/ops/cross-entropy";
import { input, type Tensor } from "../../src/tensor/tensor";
import golden from "../golden/trl_distillation.json";
import { smallContext } from "../support/comparing";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";
import { toy, toyModel } from "../support/model";

const { prompts, completions } = golden;
const divergenceOnly = { divergence: 1, data: 0, hidden: 0, relations: 0 };

interface Rows {
  readonly tokens: Uint32Array;
  readonly targets: Uint32Array;
  readonly rows: number;
  readonly length: number;
  readonly weight: number;
}

/** Prompts with their answers in rows of `length` tokens, padding behind them. */
function rowsOf(
  sequences: readonly (readonly [readonly number[], readonly number[]])[],
  length: number,
  weight: number,
): Rows {
  const rows = sequences.length;
  const tokens = new Uint32Array(rows * length).fill(36);
  const targets = new Uint32Array(rows * length).fill(IGNORE);
  for (const [row, [prompt, answer]] of sequences.entries()) {
    tokens.set([...prompt, ...answer], row * length);
    targets.set(answer, row * length + prompt.length - 1);
  }
  return { tokens, targets, rows, length, weight };
}

const pairs = completions.map((answer, i) => [prompts[i]!, answer] as const);
const count = completions.flat().length;

/** The loss, what is told, and the norm of the gradient of what is trained. */
function measured(
  student: { readonly model: Model; readonly weights: Slab },
  teacher: { readonly model: Model; readonly weights: Slab },
  how: Distilling,
  { tokens, targets, rows, length, weight }: Rows,
) {
  const graph = nextToken(student.model, { rows, length, lossOf: towards(teacher.model, how) });
  const own = student.model.parameters.list.map(({ tensor }) => tensor);
  const grads = gradients(graph.loss, own, {}).filter((grad): grad is Tensor => grad !== null);
  using program = new Program(device(), [graph.loss, graph.sums, ...grads], {
    bind: bindAll([...new Set([student.weights, teacher.weights])]),
  });
  program.feed(graph.positions, graph.rowPositions);
  program.feed(graph.weight, new Float32Array([weight]));
  program.feed(graph.tokens, tokens);
  program.feed(graph.targets, targets);
  program.run();
  const gradient = grads.map((grad) => program.read(grad).slice());
  const norm = Math.sqrt(gradient.reduce((sum, values) => sum + values.reduce((s, v) => s + v * v, 0), 0));
  const sums = program.read(graph.sums);
  const told = Object.fromEntries(graph.metrics.map((name, i) => [name, sums[i]!]));
  return { loss: program.read(graph.loss)[0]!, norm, told, gradient };
}

/** The model with 0.1 sin(i) added to the i-th number of each of its weights, as the golden file's teacher. */
function perturbed({ model, weights }: { readonly model: Model; readonly weights: Slab }) {
  const other = modelOf(model.config);
  const values = new Float32Array(other.parameters.size);
  for (const p of other.parameters.list)
    values.set(
      weights.read(parameter(model.parameters, p.name)).map((v, i) => v + 0.1 * Math.sin(i)),
      p.offset,
    );
  return { model: other, weights: new Slab(device(), other.parameters, { values }) };
}

onEachDevice(() => {
  describe("as TRL", () => {
    test.each(golden.runs)("beta $beta, temperature $temperature, self $same", async (run) => {
      using student = await smallContext();
      const made = perturbed(student);
      using _weights = made.weights;
      const teacher = run.same ? student : made;
      const how = { weights: divergenceOnly, beta: run.beta, temperature: run.temperature };
      const { loss, norm } = measured(student, teacher, how, rowsOf(pairs, 10, 1 / count));
      // Ours counts the square of the temperature, TRL's does not.
      const square = run.temperature ** 2;
      expect(Math.abs(loss / square - run.loss)).toBeLessThan(2e-6 * Math.max(1, run.loss));
      expect(Math.abs(norm / square - run.gradient)).toBeLessThan(run.same ? 2e-6 : 2e-5 * Math.max(0.1, run.gradient));
    });
  });
  test("a student that is its teacher has nothing to learn", async () => {
    using student = await smallContext();
    const teacher = perturbed(student);
    using _weights = teacher.weights;
    for (const beta of [0, 0.5, 1]) {
      const how = { weights: { ...divergenceOnly, hidden: 1, relations: 1 }, beta, temperature: 2 };
      const rows = rowsOf(pairs, 10, 1 / count);
      const [self, other] = [measured(student, student, how, rows), measured(student, teacher, how, rows)];
      expect(Math.abs(self.loss)).toBeLessThan(2e-6);
      expect(self.norm).toBeLessThan(1e-5 * other.norm);
    }
  });
});

describe("of a batch", () => {
  const how = { weights: { ...divergenceOnly, divergence: 0.7, data: 0.3 }, beta: 0.3, temperature: 1.5 };
  test("padding, neighbours and micro-batches change nothing", async () => {
    using student = await smallContext();
    const teacher = perturbed(student);
    using _weights = teacher.weights;
    const whole = measured(student, teacher, how, rowsOf(pairs, 10, 1 / count));
    const padded = measured(student, teacher, how, rowsOf(pairs, 12, 1 / count));
    const parts = pairs.map((pair) => measured(student, teacher, how, rowsOf([pair], 10, 1 / count)));
    expect(padded.loss).toBeCloseTo(whole.loss, 6);
    expect(padded.norm).toBeCloseTo(whole.norm, 5);
    expect(parts.reduce((sum, { loss }) => sum + loss, 0)).toBeCloseTo(whole.loss, 6);
    const summed = whole.gradient.map((values, i) =>
      values.map((_, j) => parts.reduce((sum, { gradient }) => sum + gradient[i]![j]!, 0)),
    );
    const far = Math.max(
      ...summed.flatMap((values, i) => [...values].map((v, j) => Math.abs(v - whole.gradient[i]![j]!))),
    );
    expect(far).toBeLessThan(1e-5);
  });
  test("the loss is what its parts say", async () => {
    using student = await smallContext();
    const teacher = perturbed(student);
    using _weights = teacher.weights;
    const { told } = measured(
      student,
      teacher,
      { ...how, weights: { divergence: 0.7, data: 0.3, hidden: 0.2, relations: 2 } },
      rowsOf(pairs, 10, 1 / count),
    );
    expect(told.loss!).toBeCloseTo(
      0.7 * told.divergence! + 0.3 * told.nll! + 0.2 * told.hidden! + 2 * told.relations!,
      5,
    );
  });
});

describe("the hidden states' losses", () => {
  const values = (rows: number, columns: number, seed: number) =>
    Float64Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + 1.7 * i) + 0.3 * Math.cos(seed * i));
  const of = (
    loss: typeof apart,
    [a, b]: readonly [number, number],
    length: number,
    s: Float64Array,
    t: Float64Array,
  ) => {
    const [student, teacher] = [input("s", [6, a]), input("t", [6, b])];
    return interpret(
      [loss(student, teacher, length)],
      new Map([
        [student, s],
        [teacher, t],
      ]),
    )[0]![0]!;
  };
  test("are 0 of the same, whatever its scale", () => {
    const s = values(6, 8, 1);
    expect(
      of(
        apart,
        [8, 8],
        3,
        s,
        s.map((v) => 3 * v),
      ),
    ).toBeCloseTo(0, 6);
    expect(
      of(
        unrelated,
        [8, 8],
        3,
        s,
        s.map((v) => 3 * v + 1),
      ),
    ).toBeCloseTo(0, 4);
  });
  test("relations are squared differences of correlations within each sequence, whatever the widths", () => {
    const [s, t] = [values(6, 8, 1), values(6, 12, 2)];
    const correlation = (x: Float64Array, n: number, i: number, j: number) => {
      const row = (at: number) => {
        const own = x.subarray(at * n, at * n + n);
        const mean = own.reduce((a, b) => a + b) / n;
        const deviation = Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / n + 1e-5);
        return own.map((v) => (v - mean) / deviation);
      };
      const [a, b] = [row(i), row(j)];
      return a.reduce((sum, v, c) => sum + v * b[c]!, 0) / n;
    };
    let wanted = 0;
    for (const first of [0, 3])
      for (let i = first; i < first + 3; i++)
        for (let j = first; j < first + 3; j++) wanted += (correlation(s, 8, i, j) - correlation(t, 12, i, j)) ** 2 / 3;
    expect(of(unrelated, [8, 12], 3, s, t)).toBeCloseTo(wanted, 9);
  });
});

describe("layers that are copied", () => {
  test("are spread from the first to the last, as DistilGPT2's", () => {
    expect(spreadLayers(6, 12)).toEqual([0, 2, 4, 7, 9, 11]);
    expect(spreadLayers(2, 4)).toEqual([0, 3]);
    expect(spreadLayers(3, 4)).toEqual([0, 2, 3]);
    expect(spreadLayers(1, 4)).toEqual([0]);
  });
  test("of a teacher of four: the student's are those, and all else is the teacher's", () => {
    using teacher = toyModel({ ...toy, layers: 4 });
    const { model, weights } = copyLayers(device(), teacher, [0, 2, 3]);
    using _weights = weights;
    const from = (name: string) => teacher.weights.read(parameter(teacher.model.parameters, name));
    for (const p of model.parameters.list) {
      const name = p.name.replace(/^h\.(\d)/, (_, layer) => `h.${[0, 2, 3][Number(layer)]}`);
      expect(weights.read(p)).toEqual(from(name));
    }
  });
});

/** A teacher of two layers on a few words, in a run's folder. */
async function teacherIn(folder: string): Promise<string> {
  const text = join(folder, "text.txt");
  writeFileSync(text, "the cat sat on the mat, and the dog sat on the log. ".repeat(100));
  writeFileSync(
    join(folder, "records.jsonl"),
    Array.from({ length: 30 }, (_, i) =>
      JSON.stringify({ instruction: `what ${i % 7}`, output: `the cat ${i % 3}` }),
    ).join("\n"),
  );
  return made(folder, "teacher", {
    model: { layers: 4, heads: 2, width: 32, context: 64 },
    tokenizer: { kind: "bpe", size: 280 },
    stage: [
      {
        kind: "pretrain",
        data: text,
        batch: { rows: 4, tokens: 32 },
        optim: { steps: 5, warmup: 0 },
        evaluate: { every: 5 },
        save: { every: 5 },
      },
    ],
  });
}

async function made(folder: string, name: string, config: object, notes: string[] = []): Promise<string> {
  const directory = join(folder, name);
  mkdirSync(directory, { recursive: true });
  await runPipeline(checkConfig({ name, ...config }), {
    device: device("cpu"),
    directory,
    console: { colour: false, note: (text) => notes.push(text), status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  return directory;
}

describe("as a stage", () => {
  const stage = (folder: string, teacher: string, more: object) => ({
    tokenizer: { kind: "file", path: join(teacher, "tokenizer") },
    stage: [
      {
        kind: "distill",
        teacher,
        data: join(folder, "records.jsonl"),
        template: "instruction",
        batch: { rows: 2, tokens: 64 },
        optim: { steps: 4, warmup: 0 },
        evaluate: { every: 4 },
        save: { every: 2 },
        rollout: { tokens: 12 },
        ...more,
      },
    ],
  });
  test.each([
    ["the data's answers", {}],
    ["the student's own", { onPolicy: 1 }],
    ["some of each", { onPolicy: 0.5, beta: 0.5 }],
    ["the teacher's", { sequenceLevel: true, weights: { divergence: 0, data: 1 } }],
  ])("of %s is the same again, and after it was cut off", async (_name, more) => {
    using folder = temporaryFolder();
    const teacher = await teacherIn(folder.path);
    const config = stage(folder.path, teacher, { layers: 2, ...more });
    const read = (run: string) => readFileSync(join(run, "distill", "step-000004", "model.safetensors"));
    const whole = read(await made(folder.path, "whole", config));
    expect(read(await made(folder.path, "again", config)).equals(whole)).toBe(true);
    const half = { ...config, stage: [{ ...config.stage[0]!, optim: { steps: 2, warmup: 0, schedule: "constant" } }] };
    const long = { ...config, stage: [{ ...config.stage[0]!, optim: { steps: 4, warmup: 0, schedule: "constant" } }] };
    const once = read(await made(folder.path, "constant", long));
    await made(folder.path, "cut", half);
    expect(read(await made(folder.path, "cut", long)).equals(once)).toBe(true);
  });
  test("the teacher's answers are written once", async () => {
    using folder = temporaryFolder();
    const teacher = await teacherIn(folder.path);
    const notes: string[] = [];
    const run = await made(folder.path, "run", stage(folder.path, teacher, { layers: 1, sequenceLevel: true }), notes);
    expect(notes.filter((note) => note.includes("the teacher has written"))).toHaveLength(1);
    const { answers } = JSON.parse(readFileSync(join(run, "distill", "teacher-answers.json"), "utf8"));
    expect(answers.length).toBeGreaterThan(20);
  });
  test.each([
    ["nothing of the teacher", { layers: 2, weights: { divergence: 0 } }, "nothing is learnt from the teacher"],
    ["more layers than there are", { layers: 5 }, "the teacher has 4 layers, and the student is to have 5 of them"],
    ["a layer that there is not", { layers: [0, 4] }, "the teacher has layers 0 to 3, and none is 4"],
    [
      "its own words as data",
      { layers: 2, onPolicy: 0.5, weights: { data: 1 } },
      "weights.data counts the student's own",
    ],
    [
      "hidden states of another width",
      { model: { layers: 1, heads: 1, width: 16, context: 64 }, weights: { hidden: 1 } },
      "the teacher has width 32 and the student 16",
    ],
    ["relations of answers", { layers: 2, weights: { relations: 1 } }, "go with text alone"],
    ["answers without room", { layers: 2, onPolicy: 1, rollout: { tokens: 64 } }, "leave no room for a prompt in 64"],
    ["written answers packed", { layers: 2, onPolicy: 1, packing: true }, "packing and dropout go with answers"],
  ])("%s is refused", async (_name, more, message) => {
    using folder = temporaryFolder();
    const teacher = await teacherIn(folder.path);
    await expect(made(folder.path, "run", stage(folder.path, teacher, more))).rejects.toThrow(message);
  });
  test("a teacher with another vocabulary is refused", async () => {
    using folder = temporaryFolder();
    const teacher = await teacherIn(folder.path);
    const other = await made(folder.path, "other", {
      model: { layers: 1, heads: 1, width: 16, context: 64 },
      tokenizer: { kind: "bpe", size: 270 },
      stage: [
        {
          kind: "pretrain",
          data: join(folder.path, "text.txt"),
          batch: { rows: 2, tokens: 32 },
          optim: { steps: 1, warmup: 0 },
          evaluate: { every: 1 },
          save: { every: 1 },
        },
      ],
    });
    const config = { ...stage(folder.path, teacher, {}), model: { from: other }, tokenizer: undefined };
    await expect(made(folder.path, "run", config)).rejects.toThrow(/tokenizer|vocabulary/);
  });
});
