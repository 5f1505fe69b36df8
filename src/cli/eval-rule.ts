/** `dawngrad eval rule`: what a model's answers get by a rule. */

import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { readingBy } from "../app/locate";
import { UserError } from "../errors";
import type { Interval } from "../eval/interval";
import type { PassAt } from "../eval/pass-at";
import { loadRule, type RuleFigures } from "../eval/rule";
import { openConsole } from "../log/console";
import { ruleNames } from "../rewards/rules";
import { byRule } from "../stages/evals/entries";
import { measureRule } from "../stages/evals/evaluate";
import { flagsOf } from "./flags";
import { modelArgs, openFromArgs } from "./open";
import { all, whole } from "./options";
import { print } from "./print";
import { questionFlags, questionsOf, writeAnswers } from "./questions";

const answerFlags = questionFlags();
const sampledFlags = flagsOf(byRule.pick({ temperature: true, seed: true, samples: true }), {
  temperature: "temperature",
  seed: "seed",
  samples: "samples",
});

export default defineCommand({
  meta: {
    name: "rule",
    description:
      "what a model's answers get by a rule: a module with a function score, and perhaps more that are told beside it",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    data: { type: "string", required: true, description: "instructions or conversations" },
    rule: {
      type: "string",
      required: true,
      description: `a TypeScript or JavaScript module, score(messages, answer, columns) of which returns a number or null; or a name: ${ruleNames.map(({ name }) => name).join(", ")}`,
    },
    ...answerFlags.args,
    ...sampledFlags.args,
    seed: { ...sampledFlags.args.seed, needs: ["temperature"] },
    samples: { ...sampledFlags.args.samples, needs: ["temperature"] },
    "pass-at": {
      type: "string",
      repeated: true,
      description:
        "how often at least one of so many answers gets a score of 1, without bias, from --samples of them: 1,10; may be repeated",
    },
    by: { type: "string", description: "a column of the records: the means of each of its values too" },
    out: { type: "string", description: "a JSONL file for every question and answer with its scores" },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const { temperature, seed, samples } = sampledFlags.parse(args, rawArgs);
    if (samples > 1 && temperature === 0)
      throw new UserError(`--samples ${samples} are all the same at temperature 0`, {
        hint: "give --temperature 1 with it",
        exitCode: 2,
      });
    const passAt = all(rawArgs, "pass-at").flatMap((text) => text.split(","));
    const ks = passAt.map((text) => whole("pass-at", text));
    const most = Math.max(...ks);
    if (most > samples)
      throw new UserError(`--pass-at ${most} wants ${most} answers of each question, and --samples is ${samples}`, {
        hint: `give --samples ${most}, or more, with a temperature`,
        exitCode: 2,
      });
    const rule = await loadRule(args.rule, findFile);
    using opened = await openFromArgs(args, rawArgs, console);
    const { answers, figures } = await measureRule(
      opened,
      {
        ...questionsOf(answerFlags, args, rawArgs, opened),
        rule,
        temperature,
        seed,
        samples,
        passAt: ks,
        by: args.by ?? null,
      },
      readingBy(console),
    );
    await writeAnswers(args.out, answers);
    print(args.json ? `${JSON.stringify(figures)}\n` : `${ruleTable(figures).join("\n")}\n`);
  },
});

/** A line for every function, and under it one for every group. */
function ruleTable({ method, answers, unjudged, means, pass_at = {}, groups = {} }: RuleFigures): string[] {
  const number = (value: number) => value.toFixed(3);
  const line = (name: string, got: Interval | null | undefined) =>
    got
      ? `${name.padEnd(24)} ${number(got.mean)}  (95%: ${number(got.low)} to ${number(got.high)}; ${got.count} answers)`
      : `${name.padEnd(24)} none is judged`;
  const passed = (name: string, got: PassAt | null | undefined) => {
    if (!got) return `${name.padEnd(24)} no question has so many answers that are judged`;
    const error = got.stderr === null ? "" : ` ± ${number(got.stderr)}`;
    return `${name.padEnd(24)} ${number(got.value)}${error}  (standard error; ${got.problems} questions)`;
  };
  return [
    ...Object.entries(means).flatMap(([name, all]) => [
      line(name, all),
      ...Object.entries(groups).map(([group, { means }]) => line(`  ${group}`, means[name])),
    ]),
    ...Object.entries(pass_at).flatMap(([k, all]) => [
      passed(`pass@${k}`, all),
      ...Object.entries(groups).map(([group, { pass_at = {} }]) => passed(`  ${group}`, pass_at[k])),
    ]),
    `${answers} answers, ${method}${unjudged ? `; ${unjudged} of them are not judged by score` : ""}`,
  ];
}
