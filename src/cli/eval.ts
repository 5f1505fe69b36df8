/** `dawngrad eval`: measures a model, by the text that it predicts or by the answers that it gives. */
import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { locateData } from "../app/locate";
import { subsetOf } from "../data/choose";
import { tokensOf } from "../data/corpus";
import { reportLines, reportOf } from "../data/report";
import { loadSamples } from "../data/samples";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import { answerAll } from "../eval/answers";
import { score } from "../eval/perplexity";
import { duration, openConsole, throttled } from "../log/console";
import { modelArgs, openFromArgs } from "./open";
import { numberOf } from "./options";

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
    const context = args.context === undefined ? most : whole("context", args.context, most);
    const stride = args.stride === undefined ? Math.max(1, context >> 1) : whole("stride", args.stride, context);
    const path = findFile(args.data);
    const ids = await tokensOf(path, { tokenizer: opened.tokenizer });
    const start = performance.now();
    const { nats, tokens } = score(opened, ids, {
      context,
      stride,
      onProgress: throttled((done: number, total: number) =>
        console.status(`window ${done}/${total}  eta ${left(start, done, total)}`),
      ),
    });
    console.done();
    const text = readFileSync(path);
    const words = text.toString().split(/\s+/).filter(Boolean).length;
    const result = {
      method:
        stride === context
          ? `disjoint windows of ${context} tokens`
          : `sliding window of ${context} tokens, stride ${stride}`,
      tokens,
      loss: nats / tokens,
      perplexity: Math.exp(nats / tokens),
      bits_per_byte: nats / Math.LN2 / text.length,
      word_perplexity: Math.exp(nats / words),
      words,
    };
    if (args.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    else {
      process.stdout.write(
        [
          `perplexity       ${result.perplexity.toFixed(4)}  (${result.method}, ${tokens} tokens scored)`,
          `loss             ${result.loss.toFixed(4)} nats a token`,
          `bits per byte    ${result.bits_per_byte.toFixed(4)}`,
          `word perplexity  ${result.word_perplexity.toPrecision(6)}  (${words} words between white space)`,
          "",
        ].join("\n"),
      );
    }
  },
});

/** The time that the rest will take. */
function left(start: number, done: number, total: number): string {
  return duration(((performance.now() - start) / 1000 / done) * (total - done));
}

function whole(name: string, text: string, most: number, least = 1): number {
  const value = numberOf(name, text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UserError(`--${name} is ${text}, expected a whole number from ${least} to ${most}`, { exitCode: 2 });
}

const answers = defineCommand({
  meta: {
    name: "answers",
    description: "how often greedy answers are those of the data, word for word, and how often they end by themselves",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    data: { type: "string", required: true, description: "instructions or conversations" },
    template: { type: "string", default: "auto", description: "auto, alpaca, instruction, chat, or a Jinja file" },
    limit: { type: "string", default: "0", description: "only so many conversations, chosen by seed 1337; 0 for all" },
    batch: { type: "string", default: "16", description: "conversations that run together" },
    "max-tokens": { type: "string", default: "64", description: "tokens of an answer at most" },
    "own-history": { type: "boolean", description: "later turns follow the model's own answers" },
    out: { type: "string", description: "a JSONL file for every question, expected answer and answer" },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const { tokenizer } = opened;
    const trees = { paths: "best", lang: "", quality: 0 } as const;
    const file = await locateData(args.data, console);
    const { samples, format, read, bad } = await loadSamples(file, { trees, strict: false, name: args.data });
    if (bad.length) for (const line of reportLines(reportOf(read, samples.length, bad), args.data)) console.note(line);
    const conversations = samples.flatMap((sample) => (sample.kind === "messages" ? [sample.messages] : []));
    if (conversations.length === 0)
      throw new UserError(`${args.data} has no conversation: its records are ${format}`, {
        hint: "give instructions or messages",
      });
    const template = templateFor(args.template, format, tokenizer);
    const chosen = subsetOf(conversations, whole("limit", args.limit, Number.MAX_SAFE_INTEGER, 0), 1337);
    const start = performance.now();
    const answered = answerAll({ ...opened, template, context: opened.model.config.context }, chosen, {
      batch: Math.min(chosen.length, whole("batch", args.batch, 4096)),
      maxTokens: whole("max-tokens", args["max-tokens"], opened.model.config.context),
      ownHistory: args["own-history"] === true,
      onProgress: throttled((done: number, total: number) =>
        console.status(`answer ${done}/${total}  eta ${left(start, done, total)}`),
      ),
    });
    console.done();
    const all = answered.flat();
    const share = (count: number, of: number) => count / Math.max(1, of);
    const result = {
      method: `greedy, ${args["own-history"] ? "after the model's own answers" : "after the data's answers"}, compared without white space at both ends`,
      conversations: answered.length,
      answers: all.length,
      exact_match: share(all.filter(({ exact }) => exact).length, all.length),
      ended: share(all.filter(({ ended }) => ended).length, all.length),
      in_form: share(
        answered.filter((turns) => turns.every(({ ended, answer }) => ended && answer !== "")).length,
        answered.length,
      ),
    };
    if (args.out !== undefined) await Bun.write(args.out, all.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
    const percent = (v: number) => `${(100 * v).toFixed(1)}%`;
    process.stdout.write(
      args.json
        ? `${JSON.stringify(result)}\n`
        : [
            `exact match          ${percent(result.exact_match)}  (${result.answers} answers; ${result.method})`,
            `ended by themselves  ${percent(result.ended)}`,
            `whole conversations  ${percent(result.in_form)}  (every turn answered, and ended by itself; of ${result.conversations})`,
            "",
          ].join("\n"),
    );
  },
});

export default defineCommand({
  meta: { name: "eval", description: "measures a model" },
  subCommands: { perplexity, answers },
});
