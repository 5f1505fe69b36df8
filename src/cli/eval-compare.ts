/** `dawngrad eval compare A B`: two models side by side on the same prompts. */

import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { readingBy } from "../app/locate";
import { openOn } from "../app/open";
import { savedNormalisation } from "../app/score";
import type { PairedScores } from "../eval/paired-scores";
import { loadRule } from "../eval/rule";
import { openConsole } from "../log/console";
import { ruleNames } from "../rewards/rules";
import { type Compared, type ComparedPair, comparePairs } from "../stages/evals/compare";
import { pairedAnswers } from "../stages/evals/paired-answers";
import { print } from "./print";
import { SIDE, sideArgs, sidesOf } from "./sides";

export default defineCommand({
  meta: {
    name: "compare",
    description: "answers of two models to the same prompts side by side, and their scores by a rule or a reward model",
  },
  args: {
    a: { type: "positional", required: true, description: SIDE },
    b: { type: "positional", required: true, description: "what it is compared with, the same" },
    rule: {
      type: "string",
      description: `a rule by its name (${ruleNames.map(({ name }) => name).join(", ")}), or a module`,
    },
    reward: { type: "string", description: "a reward model: a run, a checkpoint, or a directory" },
    out: { type: "string", description: "a JSONL file for every prompt with both answers, which are then not printed" },
    json: { type: "boolean", description: "prints one JSON object, without the answers" },
    ...sideArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const rule = args.rule === undefined ? null : await loadRule(args.rule, findFile);
    using sides = sidesOf([args.a, args.b], args, rawArgs, console);
    using stack = new DisposableStack();
    const judge =
      args.reward === undefined
        ? null
        : stack.use(await openOn(sides.device(), args.reward, console, { wanted: "reward" }));
    const reward = judge && { ...judge, device: sides.device(), normalisation: savedNormalisation(judge) };
    const answered = await pairedAnswers(sides.sides, sides.options, readingBy(console));
    const { pairs, figures } = await comparePairs(answered, { rule, reward, batch: sides.options.batch }, console);
    if (args.out !== undefined) await Bun.write(args.out, pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(""));
    if (args.json) {
      print(`${JSON.stringify(figures)}\n`);
      return;
    }
    if (args.out === undefined) for (const pair of pairs) print(`${sideBySide(pair).join("\n")}\n\n`);
    print(`${tableOf(figures).join("\n")}\n`);
  },
});

function sideBySide({ where, messages, a, b, equal, scores }: ComparedPair): string[] {
  const block = (text: string) => text.split("\n").map((line) => `    ${line}`);
  const scored = (side: 0 | 1) =>
    Object.entries(scores)
      .map(([name, pair]) => `  ${name} ${pair[side]?.toFixed(3) ?? "not judged"}`)
      .join("");
  return [
    where,
    ...messages.flatMap(({ role, content }) => [`  ${role}`, ...block(content)]),
    ...(equal
      ? [`  A and B, the same${scored(0)}`, ...block(a)]
      : [`  A${scored(0)}`, ...block(a), `  B${scored(1)}`, ...block(b)]),
  ];
}

function tableOf({ prompts, equal, scores }: Compared): string[] {
  return [
    `${prompts} prompts, ${prompts - equal} answered differently`,
    ...Object.entries(scores).flatMap(([name, one]) => linesOf(name, one)),
  ];
}

function linesOf(name: string, one: PairedScores): string[] {
  const { pairs, unjudged, a, b, difference, difference_error, wins, ties, losses, win_rate, standard_error } = one;
  const left = unjudged > 0 ? `; not judged: ${unjudged}` : "";
  if (a === null || b === null || difference === null || win_rate === null) return [`${name}: none is judged${left}`];
  const error = (value: number | null, digits: number) =>
    value === null ? "" : `standard error ${value.toFixed(digits)}; `;
  return [
    `${name}: A ${a.toFixed(3)}, B ${b.toFixed(3)}, A - B ${difference.toFixed(3)}  (${error(difference_error, 3)}${pairs} pairs${left})`,
    `${name}: A wins ${win_rate.toFixed(1)}%  (${error(standard_error, 1)}${wins} won, ${ties} tied, ${losses} lost)`,
  ];
}
