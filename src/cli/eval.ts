/** `dawngrad eval`: measures a model, by the text that it predicts or by the answers that it gives. */

import { type CommandDef, defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { readingBy } from "../app/locate";
import { openOn } from "../app/open";
import { savedNormalisation } from "../app/score";
import { UserError } from "../errors";
import type { Interval } from "../eval/interval";
import { loadRule } from "../eval/rule";
import { openConsole } from "../log/console";
import { bestOf } from "../stages/evals/best-of";
import * as entries from "../stages/evals/entries";
import { measureAnswers, measureText } from "../stages/evals/evaluate";
import { flagsOf } from "./flags";
import { modelArgs, openFromArgs } from "./open";
import { whole } from "./options";
import { print } from "./print";
import { questionFlags, questionsOf, writeAnswers } from "./questions";

const perplexity = defineCommand({
  meta: { name: "perplexity", description: "how well a model predicts a text, by a sliding window" },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    data: { type: "string", required: true, description: "a text file" },
    context: { type: "string", description: "tokens that a window sees (default: the model's context)" },
    stride: {
      type: "string",
      description: "tokens that a window scores (default: half the context; the context: disjoint windows)",
    },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const most = opened.model.config.context;
    const context = args.context === undefined ? most : whole("context", args.context, { most });
    const stride =
      args.stride === undefined ? Math.max(1, context >> 1) : whole("stride", args.stride, { most: context });
    const figures = await measureText(opened, { data: args.data, context, stride }, readingBy(console));
    const { method, tokens, windows, loss, perplexity, bits_per_byte, word_perplexity, words } = figures;
    const error = (value: number | null) => (value === null ? "" : ` ± ${value.toFixed(4)}`);
    print(
      args.json
        ? `${JSON.stringify(figures)}\n`
        : [
            `perplexity       ${perplexity.toFixed(4)}${error(figures.perplexity_stderr)}  (${method}, ${tokens} tokens scored)`,
            `loss             ${loss.toFixed(4)}${error(figures.loss_stderr)} nats a token${windows > 1 ? `  (± standard error, over ${windows} windows)` : ""}`,
            `bits per byte    ${bits_per_byte.toFixed(4)}`,
            `word perplexity  ${word_perplexity.toPrecision(6)}  (${words} words between white space)`,
            "",
          ].join("\n"),
    );
  },
});

const answerFlags = questionFlags();
const historyFlag = flagsOf(entries.answers.pick({ ownHistory: true }), { "own-history": "ownHistory" });

const answers = defineCommand({
  meta: {
    name: "answers",
    description: "how often greedy answers are those of the data, word for word, and how often they end by themselves",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    data: { type: "string", required: true, description: "instructions or conversations" },
    ...answerFlags.args,
    ...historyFlag.args,
    out: { type: "string", description: "a JSONL file for every question, expected answer and answer" },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const { answers, figures } = await measureAnswers(
      opened,
      {
        ...questionsOf(answerFlags, args, rawArgs, opened),
        ...historyFlag.parse(args, rawArgs),
      },
      readingBy(console),
    );
    await writeAnswers(args.out, answers);
    const percent = (v: number) => `${(100 * v).toFixed(1)}%`;
    print(
      args.json
        ? `${JSON.stringify(figures)}\n`
        : [
            `exact match          ${percent(figures.exact_match)}  (${figures.answers} answers; ${figures.method})`,
            `ended by themselves  ${percent(figures.ended)}`,
            `whole conversations  ${percent(figures.in_form)}  (every turn answered, and ended by itself; of ${figures.conversations})`,
            "",
          ].join("\n"),
    );
  },
});

const promptFlags = questionFlags({ batch: entries.bestOf.shape.batch.def.defaultValue });
const bestFlags = flagsOf(entries.bestOf.pick({ temperature: true, seed: true, samples: true }), {
  temperature: "temperature",
  seed: "seed",
  samples: "samples",
});

const best = defineCommand({
  meta: {
    name: "best-of",
    description:
      "the best of several answers by a reward model, beside all of them: what training by that reward is measured against",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    reward: { type: "string", required: true, description: "a reward model: a run, a checkpoint, or a directory" },
    data: { type: "string", required: true, description: "prompts, with or without answers" },
    rule: { type: "string", description: "a rule by its name, or a module, that is told of the answers too" },
    ...promptFlags.args,
    ...bestFlags.args,
    out: { type: "string", description: "a JSONL file for the best answer to every prompt" },
    json: { type: "boolean", description: "prints one JSON object, without the answers" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const { temperature, seed, samples } = bestFlags.parse(args, rawArgs);
    if (temperature === 0)
      throw new UserError("at temperature 0 all answers of a prompt are the same", { exitCode: 2 });
    const rule = args.rule === undefined ? null : await loadRule(args.rule, findFile);
    using opened = await openFromArgs(args, rawArgs, console);
    using judge = await openOn(opened.device, args.reward, console, { wanted: "reward" });
    const { answers, ...figures } = await bestOf(
      opened,
      { ...judge, device: opened.device, normalisation: savedNormalisation(judge) },
      {
        ...questionsOf(promptFlags, args, rawArgs, opened),
        rule,
        temperature,
        seed,
        samples,
      },
      readingBy(console),
    );
    await writeAnswers(args.out, answers);
    if (args.json) {
      print(`${JSON.stringify(figures)}\n`);
      return;
    }
    const { prompts, divergence, reward, rule: scores } = figures;
    const line = (name: string, { all, best }: { readonly all: Interval | null; readonly best: Interval | null }) =>
      all && best
        ? `${name.padEnd(24)} ${all.mean.toFixed(3).padStart(8)}   ${best.mean.toFixed(3).padStart(8)}  (95%: ${best.low.toFixed(3)} to ${best.high.toFixed(3)})`
        : `${name.padEnd(24)} none is judged`;
    const lines = [
      `${"".padEnd(24)} ${"all".padStart(8)}   ${`best of ${samples}`.padStart(8)}`,
      line("reward", reward),
      ...Object.entries(scores).map(([name, one]) => line(name, one)),
      `${prompts} prompts, sampled at temperature ${temperature}, seed ${seed}; ${divergence.toFixed(3)} nats an answer from the model at most`,
    ];
    print(`${lines.join("\n")}\n`);
  },
});

export default defineCommand({
  meta: { name: "eval", description: "measures a model; dawngrad eval SUITE.toml: all that a file says" },
  default: "suite",
  subCommands: {
    perplexity,
    answers,
    rule: () => import("./eval-rule").then((m) => m.default as CommandDef),
    "best-of": best,
    choice: () => import("./eval-choice").then((m) => m.default as CommandDef),
    suite: () => import("./eval-suite").then((m) => m.default as CommandDef),
    judge: () => import("./eval-judge").then((m) => m.default as CommandDef),
    compare: () => import("./eval-compare").then((m) => m.default as CommandDef),
  },
});
