/** `dawngrad eval`: measures a model, by the text that it predicts or by the answers that it gives. */
import { defineCommand } from "citty";
import { z } from "zod";
import { measureAnswers, measureText } from "../app/evaluate";
import { openConsole } from "../log/console";
import { records } from "../stages/examples";
import { flagsOf } from "./flags";
import { modelArgs, openFromArgs } from "./open";
import { whole } from "./options";
import { print } from "./print";

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
    const figures = await measureText(opened, { data: args.data, context, stride }, console);
    const { method, tokens, loss, perplexity, bits_per_byte, word_perplexity, words } = figures;
    print(
      args.json
        ? `${JSON.stringify(figures)}\n`
        : [
            `perplexity       ${perplexity.toFixed(4)}  (${method}, ${tokens} tokens scored)`,
            `loss             ${loss.toFixed(4)} nats a token`,
            `bits per byte    ${bits_per_byte.toFixed(4)}`,
            `word perplexity  ${word_perplexity.toPrecision(6)}  (${words} words between white space)`,
            "",
          ].join("\n"),
    );
  },
});

const recordFlags = flagsOf(z.object({ template: records.template }), { template: "template" });

const answers = defineCommand({
  meta: {
    name: "answers",
    description: "how often greedy answers are those of the data, word for word, and how often they end by themselves",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    data: { type: "string", required: true, description: "instructions or conversations" },
    ...recordFlags.args,
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
    const { context } = opened.model.config;
    const { answers, figures } = await measureAnswers(
      opened,
      {
        data: args.data,
        template: recordFlags.parse(args, rawArgs).template,
        limit: whole("limit", args.limit, { least: 0 }),
        batch: whole("batch", args.batch, { most: 4096 }),
        maxTokens: whole("max-tokens", args["max-tokens"], { most: context }),
        ownHistory: args["own-history"] === true,
      },
      console,
    );
    if (args.out !== undefined)
      await Bun.write(args.out, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
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

export default defineCommand({
  meta: { name: "eval", description: "measures a model" },
  subCommands: { perplexity, answers },
});
