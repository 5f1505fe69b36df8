/**
 * A stage that learns from what its policy writes, whatever it makes of it: in rounds. In each the policy answers prompts, the answers are
 * given rewards, a method says what their tokens are worth, and a few steps are made on them.
 */
import { shuffled } from "../../data/choose";
import { fingerprintOf } from "../../fingerprint";
import type { Slab } from "../../model/slab";
import { zeros } from "../../ops/fill";
import { concat } from "../../ops/parts";
import type { Trained } from "../../optim/optimizer";
import type { Batch, Evaluation, Graph, Json, Values } from "../../train/stage";
import type { Share } from "../../train/world";
import type { Built } from "../context";
import { type Answer, loadedAnswers, savedAnswers } from "./answers";
import { type Objective, type OnlineFeeding, type OnPolicy, onlineFeeding, type StepOf } from "./feeding";
import { heldOutReward, type Measured, validation } from "./held-out";
import type { OnlineParts } from "./parts";
import type { Asking } from "./prompts";
import { type Judging, type Round, roundsOf, tokensOf } from "./rounds";
import { placed } from "./shapes";
import { table } from "./table";
import { updateSpeed } from "./update-speed";

export interface OnlineMethod extends Judging {
  objective(on: OnPolicy): Objective;
  /** What each token of an answer counts for, of a step's answers and a round's. Only those that are learned from are given. */
  weigh(step: readonly Answer[], round: readonly Answer[]): (answer: Answer) => number;
  /** Passes over the same answers. */
  readonly passes: number;
  /** Trained beside the policy. */
  readonly trained?: readonly Trained[];
  /** Read by the graphs beside policy and reference. */
  readonly frozen?: readonly Slab[];
  /** More to learn with each step than answers: a graph each, and what it is fed. */
  readonly beside?: Beside;
  /** Before a step's micro-batches: the step may be asked for again. */
  before?(step: number): void;
  readonly state?: { save(): Json; load(json: Json): void };
  write?(directory: string): void | Promise<void>;
  read?(directory: string): void;
  /** Of a step-0 line. */
  readonly lines: readonly string[];
  /** Disposed of with the stage. */
  readonly owned?: readonly Disposable[];
}

export interface Beside {
  /** `names`: of all that is told of a step, in the order of a graph's sums. */
  graph(names: readonly string[]): Graph;
  /** What they are called. */
  readonly names: readonly string[];
  /** Of a step one by one: the arrays may be used again for the next. */
  step(step: number): Iterable<{ readonly values: Values; readonly tokens: number }>;
}

/** A stream of random numbers of the passes' own. */
const DEAL = 100_000;

export function onlineStage(parts: OnlineParts, method: OnlineMethod): Built {
  const { config, context, data, trained, writer, rewarding, shapes, passes, length } = parts;
  const { seed, signal, directory } = context;
  const { name, rollout, minibatches, epochs, optim } = config;
  const { train, held, tokenizer } = data;
  const { model } = trained;
  const { rows, scratch } = passes;
  const { beside } = method;
  const feedings: OnlineFeeding[] = shapes.map((shape) =>
    onlineFeeding(model, (on) => method.objective(on), {
      rows,
      shape,
      temperature: rollout.temperature,
      recompute: config.recompute,
      activations: config.activations,
    }),
  );
  const names = [...feedings[0]!.names, ...(beside?.names ?? [])];
  const graphs = feedings.map(({ graph }) => (beside ? widened(graph, beside.names.length) : graph));
  const own = beside ? [beside.graph(names)] : [];
  const round = method.passes * minibatches;
  const roundsPerEpoch = Math.ceil(train.length / rollout.prompts);
  const total = optim.steps ?? Math.max(1, Math.round(epochs * roundsPerEpoch)) * round;
  const of = held.length > 0 ? held : train;
  const measure = (signal: AbortSignal) => heldOutReward(of, { config, seed, writer, rewarding, signal });
  const samples = table(directory, { prompts: train, names: rewarding.names });
  const rounds = roundsOf({ config, context, prompts: train, rewarding, writer, method });
  let current: Round | null = null;
  /** The last step that was given. */
  let given = -1;
  const update = updateSpeed();

  return {
    model,
    length,
    tokenizer,
    trained: [{ weights: trained.weights }, ...(method.trained ?? [])],
    frozen: [...trained.frozen, ...parts.frozen, ...(method.frozen ?? [])],
    // The graphs that are largest stand last.
    graphs: [...own, ...graphs],
    scratch,
    names,
    fingerprints: { data: fingerprintOfPrompts(data), ...rewarding.fingerprints, ...parts.fingerprints },
    steps: total,
    round,
    step: microBatches,
    async evaluate(signal) {
      const found = await update.leaveOut(() => measure(signal));
      if (!found) return null;
      return evaluationOf(found);
    },
    start: async () => {
      const found = await measure(signal);
      if (!found) return { lines: data.lines, held: null };
      const { figures, judged, answers } = found;
      const of =
        rewarding.names.length > 1
          ? ` (${rewarding.names.map((n) => `${n} ${figures[`rewards/${n}/mean`]!.toFixed(4)}`).join(", ")})`
          : "";
      const lines = [
        ...data.lines,
        `${name}: ${train.length} prompts, ${held.length} held out; a round is ${rollout.samples} answers to each of ${rollout.prompts}, and ${round === 1 ? "a step" : `${round} steps`}: ${roundsPerEpoch} rounds an epoch, ${Math.ceil(total / round)} in all`,
        `${name}: step 0: reward ${judged === 0 ? "of no answer" : figures.reward!.toFixed(4)}${of}${judged < answers ? `, ${answers - judged} of ${answers} answers not judged,` : ""} on ${held.length > 0 ? "what is held out" : "what is trained"}, sampled at temperature ${rollout.temperature}`,
        ...[...rewarding.lines, ...method.lines].map((line) => `${name}: ${line}`),
      ];
      return { lines, held: held.length > 0 ? evaluationOf(found) : null };
    },
    async *samples() {
      if (current) yield* samples.lines(chosenOf(current.answers, config.samples.count));
    },
    async write(directory) {
      await update.leaveOut(async () => {
        await trained.write(directory, tokenizer);
        await method.write?.(directory);
      });
    },
    read(directory) {
      trained.read(directory);
      method.read?.(directory);
    },
    state: {
      save: () => {
        // A round whose last step was made is not needed again.
        const kept = current && (given + 1) % round !== 0 ? current : null;
        return {
          rounds: rounds.save(),
          method: method.state?.save() ?? null,
          round: kept && { round: kept.round, answers: savedAnswers(kept.answers), metrics: kept.metrics },
        };
      },
      load(json) {
        const saved = json as { readonly rounds: Json; readonly method: Json; readonly round: SavedRound | null };
        rounds.load(saved.rounds);
        if (saved.method !== null) method.state?.load(saved.method);
        if (saved.round) current = { ...saved.round, answers: loadedAnswers(saved.round.answers, train) };
      },
    },
    [Symbol.dispose]() {
      for (const one of [...(method.owned ?? []), parts]) one[Symbol.dispose]();
    },
  };

  function evaluationOf(found: Measured): Evaluation {
    return { values: validation(found, rewarding.names), score: found.figures.reward! };
  }

  async function* microBatches(step: number, { rank, size }: Share): AsyncGenerator<Batch> {
    const at = Math.floor(step / round);
    if (current?.round !== at) {
      // What was recorded must be done before anything is written by these weights.
      context.device.wait();
      update.stop();
      const made = await rounds.make(at);
      if (!made) return;
      update.start();
      current = made;
    }
    given = step;
    const { answers: all, metrics } = current;
    const answers = dealt(all, at, step % round);
    const counted = answers.filter(({ counts }) => counts);
    const tokens = tokensOf(counted);
    const weights = method.weigh(
      counted,
      all.filter(({ counts }) => counts),
    );
    const stepOf: StepOf = { answers: counted.length, tokens, weightOf: weights };
    method.before?.(step);
    const micro = placed(
      answers.map(({ example }) => example),
      shapes,
      rows,
    );
    const told: Record<string, number> = { ...metrics, epoch: rounds.drawn() / train.length };
    if (update.speed > 0) told.update_tokens_per_second = update.speed;
    const first = own.length;
    for (const [i, { shape, items }] of micro.entries()) {
      if (i % size !== rank) continue;
      const chosen = items.map((item) => answers[item]!);
      const here = chosen.reduce((sum, { example }) => sum + example.ids.length, 0);
      const values = feedings[shape]!.fill(chosen, stepOf);
      yield {
        graph: first + shape,
        values,
        tokens: here,
        ...(i === 0 && { metrics: told }),
      };
      update.tokens += here;
    }
    const { every, count } = config.samples;
    if (rank === 0 && every > 0 && ((step + 1) % every === 0 || step + 1 === total))
      samples.write(step + 1, chosenOf(all, count));
    let next = micro.length;
    for (const { values, tokens } of beside?.step(step) ?? [])
      if (next++ % size === rank) yield { graph: 0, values, tokens };
  }

  /** Those of a round that a step is made on: whole groups, in an order of each pass. */
  function dealt(answers: readonly Answer[], at: number, within: number): Answer[] {
    if (minibatches === 1) return [...answers];
    const groups = answers.length / rollout.samples;
    const pass = Math.floor(within / minibatches);
    const places = shuffled(groups, seed, DEAL + at * method.passes + pass);
    const each = groups / minibatches;
    const part = within % minibatches;
    return places
      .slice(part * each, (part + 1) * each)
      .flatMap((group) => answers.slice(group * rollout.samples, (group + 1) * rollout.samples));
  }
}

interface SavedRound {
  readonly round: number;
  readonly answers: Json;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The graph with room in its sums for what is told of other graphs. */
function widened(graph: Graph, more: number): Graph {
  return { ...graph, sums: concat([graph.sums, zeros([more])]) };
}

function fingerprintOfPrompts({ train, held }: Asking): string {
  return fingerprintOf([...train, ...held].flatMap(({ ids, columns }) => [ids, JSON.stringify(columns)]));
}

/** A few of them, spread evenly. */
function chosenOf<T>(all: readonly T[], count: number): T[] {
  const some = Math.min(count, all.length);
  return Array.from({ length: some }, (_, i) => all[Math.floor(((i + 0.5) * all.length) / some)]!);
}
