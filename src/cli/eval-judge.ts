/** `dawngrad eval judge`: answers of two models, compared by a third behind a server of OpenAI's API. */
import { defineCommand } from "citty";
import { askAll, costOf, type Judged, judged, trialOf } from "../app/judge";
import { readingBy } from "../app/locate";
import { openVerdicts } from "../app/verdicts";
import { UserError } from "../errors";
import { openConsole, short } from "../log/console";
import { judgeUrl, OPENAI_URL, openJudge } from "../rewards/judge";
import { patience } from "../rewards/patience";
import { defaultRubric, readRubric } from "../rewards/verdict";
import { pairedAnswers } from "../stages/evals/paired-answers";
import { canAsk, confirmed } from "./confirm";
import { numberOf, whole } from "./options";
import { print } from "./print";
import { SIDE, sideArgs, sidesOf } from "./sides";

export default defineCommand({
  meta: {
    name: "judge",
    description: "how often answers of one model beat those of another, by a judge behind a server of OpenAI's API",
  },
  args: {
    a: { type: "string", required: true, description: SIDE },
    b: { type: "string", required: true, description: "what it is compared with, the same" },
    judge: { type: "string", required: true, description: "the judge's name, as its server has it" },
    endpoint: { type: "string", description: "the server, such as http://localhost:8080/v1 (else OPENAI_BASE_URL)" },
    key: { type: "string", description: "its key (else OPENAI_API_KEY)" },
    rubric: {
      type: "string",
      description: "a text for the judge with {prompt}, {a} and {b} in it, that asks for [[A]], [[B]] or [[tie]]",
    },
    out: {
      type: "string",
      default: "verdicts.jsonl",
      description: "a JSONL file that keeps every verdict; what it has is not asked again",
    },
    concurrency: { type: "string", default: "4", description: "requests at a time" },
    "judge-tokens": { type: "string", default: "1024", description: "tokens of a judge's reply at most" },
    timeout: { type: "string", default: "120", description: "seconds that a reply is waited for" },
    retries: { type: "string", default: "5", description: "tries after one that has failed and may pass" },
    yes: { type: "boolean", description: "asks the judge without asking you" },
    json: { type: "boolean", description: "prints one JSON object" },
    ...sideArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const rubric = args.rubric === undefined ? defaultRubric : readRubric(args.rubric);
    const judge = openJudge({
      name: args.judge,
      ...serverOf(args),
      timeout: seconds(args.timeout),
      tokens: whole("judge-tokens", args["judge-tokens"]),
      retries: whole("retries", args.retries, { least: 0, most: 100 }),
      ...patience,
    });
    const concurrency = whole("concurrency", args.concurrency, { most: 256 });
    using sides = sidesOf([args.a, args.b], args, rawArgs, console);
    using file = openVerdicts(args.out, console.note);
    const pairs = await pairedAnswers(sides.sides, sides.options, readingBy(console));
    const trial = trialOf(pairs, args.judge, rubric);
    if (trial.pairs.length < pairs.length)
      console.note(`pairs that stand before with the same words, and count once: ${pairs.length - trial.pairs.length}`);
    const { requests, tokens } = costOf(trial, file);
    const known = 2 * trial.pairs.length - requests;
    const most = short(requests * whole("judge-tokens", args["judge-tokens"]));
    console.note(
      `${requests} requests to ${args.judge} for ${trial.pairs.length} pairs${known > 0 ? ` (${known} verdicts need none)` : ""}: about ${short(tokens)} tokens of prompts, and at most ${most} of replies`,
    );
    if (requests > 0 && args.yes !== true && canAsk() && !(await confirmed("ask the judge?")))
      throw new UserError("the judge was not asked", { hint: "--yes asks it without a question" });
    try {
      await askAll(trial, file, { judge, concurrency }, console);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const kept = `${args.out} keeps ${file.verdicts.size} verdicts: the same command goes on from there`;
      throw new UserError(error.message, {
        hint: error.hint ? `${error.hint}; ${kept}` : kept,
        exitCode: error.exitCode,
        cause: error.cause,
      });
    }
    const figures = judged(trial, file, sides.options.seed);
    print(args.json ? `${JSON.stringify(figures)}\n` : `${tableOf(figures).join("\n")}\n`);
  },
});

function serverOf({ endpoint, key }: { readonly endpoint?: string; readonly key?: string }) {
  const given = endpoint ?? (process.env.OPENAI_BASE_URL || undefined);
  const url = judgeUrl(given ?? OPENAI_URL);
  const secret = key ?? (process.env.OPENAI_API_KEY || undefined);
  if (secret === undefined && given === undefined)
    throw new UserError("OpenAI's server wants a key", {
      hint: "set OPENAI_API_KEY, or give another server by --endpoint or OPENAI_BASE_URL",
      exitCode: 2,
    });
  // A server that wants none takes any.
  return { url, key: secret ?? "none" };
}

function seconds(text: string): number {
  const value = numberOf("timeout", text);
  if (value > 0 && value <= 86_400) return value;
  throw new UserError(`--timeout is ${text}, expected a number above 0, up to 86400`, { exitCode: 2 });
}

function tableOf(figures: Judged): string[] {
  const { pairs, wins, ties, losses, length_controlled: even, agreement, first_shown, equal, unparsable } = figures;
  const percent = (value: number | null) => (value === null ? "none" : `${value.toFixed(1)}%`);
  const share = (value: number | null) => percent(value === null ? null : 100 * value);
  const line = (name: string, value: string, more: string) => `${name.padEnd(18)} ${value.padStart(6)}  (${more})`;
  const error = (value: number | null | undefined) =>
    value === null || value === undefined ? "" : `standard error ${value.toFixed(1)}; `;
  return [
    line(
      "A wins",
      percent(figures.win_rate),
      `${error(figures.standard_error)}${pairs} pairs: ${wins} won, ${ties} tied, ${losses} lost`,
    ),
    line(
      "  at equal length",
      percent(even?.win_rate ?? null),
      `${error(even?.standard_error)}answers have ${figures.length.a.toFixed(0)} and ${figures.length.b.toFixed(0)} characters in the mean`,
    ),
    line("both orders agree", share(agreement), `the answer shown first has ${share(first_shown)} of the wins`),
    ...(equal > 0 ? [`equal answers: ${equal} of the ties, about which the judge was not asked`] : []),
    ...(unparsable.verdicts > 0
      ? [
          `not read: ${unparsable.verdicts} of ${figures.verdicts} verdicts; pairs that do not count for that: ${unparsable.pairs}`,
        ]
      : []),
  ];
}
