import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { locateModel } from "../app/locate";
import { openModel } from "../app/model";
import { tokensOf } from "../data/corpus";
import { UserError } from "../errors";
import { score } from "../eval/perplexity";
import { duration, openConsole } from "../log/console";
import type { Storage } from "../model/parameters";
import { deviceArg, numberOf, openFor, storageArg } from "./options";

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
    ...storageArg,
    ...deviceArg,
  },
  async run({ args }) {
    const console = openConsole();
    const directory = await locateModel(args.model, console);
    using device = openFor(args, console);
    using opened = await openModel(device, directory, args.storage as Storage);
    const most = opened.model.config.context;
    const context = args.context === undefined ? most : whole("context", args.context, most);
    const stride = args.stride === undefined ? Math.max(1, context >> 1) : whole("stride", args.stride, context);
    const path = findFile(args.data);
    const ids = await tokensOf(path, { tokenizer: opened.tokenizer });
    const start = performance.now();
    const { nats, tokens } = score({ device, ...opened }, ids, {
      context,
      stride,
      onProgress(done, total) {
        const left = ((performance.now() - start) / 1000 / done) * (total - done);
        console.status(`window ${done}/${total}  eta ${duration(left)}`);
      },
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

function whole(name: string, text: string, most: number): number {
  const value = numberOf(name, text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new UserError(`--${name} is ${text}, expected a whole number from 1 to ${most}`, { exitCode: 2 });
}

export default defineCommand({
  meta: { name: "eval", description: "measures a model" },
  subCommands: { perplexity },
});
