/** `dawngrad data`: looks at data files as training would. */
import { defineCommand } from "citty";
import { z } from "zod";
import { locateData, locateModel } from "../app/locate";
import { shuffled } from "../data/choose";
import { encodeAll } from "../data/encode-samples";
import { reportLines } from "../data/report";
import { loadSamples } from "../data/samples";
import { showExample } from "../data/show";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import { mayColour, openConsole } from "../log/console";
import { records } from "../stages/examples";
import { trainBpe } from "../text/bpe";
import { loadTokenizer, tokenizerFrom } from "../text/tokenizer";
import { flagsOf } from "./flags";
import { whole } from "./options";
import { print } from "./print";

const { format, template, trees, cut, strict } = records;
const recordFlags = flagsOf(z.object({ format, template, trees, cut, strict }), {
  format: { path: "format", open: true },
  template: "template",
  lang: "trees.lang",
  paths: "trees.paths",
  cut: "cut",
  strict: "strict",
});

const show = defineCommand({
  meta: { name: "show", description: "examples as the model will see them, what is not trained dimmed" },
  args: {
    file: { type: "positional", required: true, description: "a data file, or the name of a data set such as alpaca" },
    model: {
      type: "string",
      description:
        "whose tokenizer and template to use: a run, a model, a Hub name, or a folder with tokenizer.json (default: bytes as tokens)",
    },
    count: { type: "string", default: "3", description: "how many examples" },
    seed: { type: "string", description: "shows random ones, chosen by it, and not the first" },
    tokens: { type: "string", description: "tokens of an example at most (default: 1024; without --model no limit)" },
    ...recordFlags.args,
    ids: {
      type: "boolean",
      excludes: ["json"],
      description: "prints every token with its id, one a line; * marks those that are trained",
    },
    json: { type: "boolean", description: "prints one JSON object an example: ids, trained, text" },
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const { format: kind, template: wanted, trees, cut, strict } = recordFlags.parse(args, rawArgs);
    const format = kind === "auto" ? undefined : kind;
    const { model } = args;
    const count = whole("count", args.count);
    const seed = args.seed === undefined ? null : whole("seed", args.seed, { least: 0, most: 0xffff_ffff });
    const tokenizer =
      model === undefined
        ? tokenizerFrom(trainBpe([], { size: 257 }))
        : await loadTokenizer(await locateModel(model, console, "tokenizer.json"));
    const unit = model === undefined ? "bytes" : "tokens";
    const loaded = await loadSamples(await locateData(args.file, console), { format, trees, strict, name: args.file });
    const template = templateFor(wanted, loaded.format, tokenizer);
    const most = model === undefined ? Number.MAX_SAFE_INTEGER : 1024;
    const tokens = args.tokens === undefined ? most : whole("tokens", args.tokens);
    const { examples, report } = await encodeAll(loaded, { tokenizer, template, tokens, cut, strict });
    for (const line of reportLines(report, `${args.file}: format ${loaded.format}`)) console.note(line);
    if (examples.length === 0) throw new UserError(`${args.file} has no record that can be shown`);
    const order = seed === null ? examples.map((_, i) => i) : shuffled(examples.length, seed, 0);
    const colour = mayColour(process.stdout);
    for (const i of order.slice(0, count)) {
      const { ids, trained, targets, where } = examples[i]!;
      if (args.json) {
        const text = tokenizer.decode([...ids]);
        print(`${JSON.stringify({ where, ids: [...ids], trained: [...trained], text })}\n`);
        continue;
      }
      print(`-- ${where}: ${ids.length} ${unit}, ${targets} trained\n`);
      if (args.ids)
        ids.forEach((id, t) => {
          print(`${trained[t] ? "*" : " "} ${String(id).padStart(6)}  ${JSON.stringify(tokenizer.decode([id]))}\n`);
        });
      else print(`${showExample(examples[i]!, tokenizer, { colour })}\n`);
    }
  },
});

export default defineCommand({
  meta: { name: "data", description: "looks at data files" },
  subCommands: { show },
});
