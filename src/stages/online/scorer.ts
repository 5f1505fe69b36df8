/** Passes that give numbers to answers, round after round: their programs are made once. */
import { Program } from "../../autograd/program";
import type { Scratch } from "../../autograd/scratch";
import type { Example } from "../../data/examples";
import { batchArrays, fillBatch, fillSequences, sequenceArrays } from "../../data/layout";
import type { Device } from "../../device/device";
import { type Asked, completionInputs, completions } from "../../model/completions";
import type { Model } from "../../model/model";
import { scoreInputs, scores } from "../../model/scores";
import { bindAll, type Slab } from "../../model/slab";
import { gather } from "../../ops/gather";
import type { Tensor } from "../../tensor/tensor";
import { tick } from "../../tick";
import { placed, type Shape } from "./shapes";

export interface Scorer extends Disposable {
  /** Of each answer its numbers; null where `signal` was aborted first. */
  find(answers: readonly Example[], signal: AbortSignal): Promise<readonly Float32Array[] | null>;
}

export interface ScorerOptions {
  readonly device: Device;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  readonly rows: number;
  readonly shapes: readonly Shape[];
  readonly scratch: Scratch;
}

/** The log-probability of each token of an answer, the logits divided by a temperature. */
export function tokenLogProbs(options: ScorerOptions & { readonly temperature: number }): Scorer {
  const { model, rows, temperature } = options;
  return ofTokens(options, (asked, length) => completions(model, asked, { count: rows, length, temperature }).ofTokens);
}

/** A number of the scalar head before each token of an answer: what a critic expects. */
export function tokenValues(options: ScorerOptions, expected: (model: Model, rows: Tensor) => Tensor): Scorer {
  const { model } = options;
  return ofTokens(options, ({ tokens, positions, places }, length) =>
    expected(model, gather(model.hidden(tokens, positions, { length }), places)),
  );
}

function ofTokens(options: ScorerOptions, numbers: (asked: Asked, length: number) => Tensor): Scorer {
  const { rows } = options;
  return scorer(options, ({ length, targets }) => {
    const asked = completionInputs(rows * length, targets);
    const found = numbers(asked, length);
    const arrays = batchArrays(rows, length, targets);
    return {
      found,
      feed(program, answers) {
        fillBatch(
          answers,
          answers.map((_, row) => [row]),
          length,
          arrays,
        );
        for (const [name, tensor] of Object.entries(asked))
          if (program.plan.places.has(tensor)) program.feed(tensor, arrays[name as keyof typeof arrays]);
      },
      split(values, answers) {
        let at = 0;
        return answers.map(({ targets }) => values.slice(at, (at += targets)));
      },
    };
  });
}

/** What a reward model's head gives to each answer with its prompt, at the last token: one number, raw. */
export function answerScores(options: ScorerOptions): Scorer {
  const { model, rows } = options;
  return scorer(options, ({ length }) => {
    const asked = scoreInputs(rows, length);
    const arrays = sequenceArrays(rows, length);
    return {
      found: scores(model, asked, { length }),
      feed(program, answers) {
        fillSequences(
          answers.map(({ ids }) => ids),
          arrays,
        );
        for (const name of ["tokens", "positions", "ends"] as const) program.feed(asked[name], arrays[name]);
      },
      split: (values, answers) => answers.map((_, row) => values.slice(row, row + 1)),
    };
  });
}

interface Pass {
  readonly found: Tensor;
  feed(program: Program, answers: readonly Example[]): void;
  split(values: Float32Array, answers: readonly Example[]): Float32Array[];
}

function scorer({ device, slabs, rows, shapes, scratch }: ScorerOptions, passOf: (shape: Shape) => Pass): Scorer {
  const bind = bindAll(slabs);
  const made = new Map<number, Pass & { readonly program: Program }>();
  const of = (at: number) => {
    let pass = made.get(at);
    if (!pass) {
      const plain = passOf(shapes[at]!);
      pass = { ...plain, program: new Program(device, [plain.found], { bind, scratch }) };
      made.set(at, pass);
    }
    return pass;
  };
  return {
    async find(answers, signal) {
      const all = new Array<Float32Array>(answers.length);
      for (const { shape, items } of placed(answers, shapes, rows)) {
        await tick();
        if (signal.aborted) return null;
        const { program, found, feed, split } = of(shape);
        const chosen = items.map((at) => answers[at]!);
        feed(program, chosen);
        program.run();
        for (const [row, values] of split(program.read(found), chosen).entries()) all[items[row]!] = values;
      }
      return all;
    },
    [Symbol.dispose]() {
      for (const { program } of made.values()) program[Symbol.dispose]();
    },
  };
}
