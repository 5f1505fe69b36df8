/** `dawngrad data`: looks at data files as training would. */
import { defineCommand } from "citty";
import { z } from "zod";
import { locateData, locateModel } from "../app/locate";
import { shuffled } from "../data/choose";
import { encodeAll } from "../data/encode-samples";
import type { Example } from "../data/examples";
import { type Format, formats } from "../data/formats";
import { encodePreferences } from "../data/preference-examples";
import { preferencesIn } from "../data/preference-samples";
import { arePreferences, type PreferenceFormat, preferenceFormats } from "../data/preferred";
import { readRecords } from "../data/records";
import { reportLines } from "../data/report";
import { samplesIn } from "../data/samples";
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

const { template, trees, cut, strict } = records;
const format = z.enum(["auto", ...new Set([...formats, ...preferenceFormats])]).default("auto");
const described = format.meta({ description: records.format.meta()!.description! });
const recordFlags = flagsOf(z.object({ format: described, template, trees, cut, strict }), {
  format: { path: "format", open: true },
  template: "template",
  lang: "trees.lang",
  paths: "trees.paths",
  cut: "cut",
  strict: "strict",
});

const show = defineCommand({
  meta: {
    name: "show",
    description: "examples, pairs or judged answers as the model will see them, what is not trained dimmed",
  },
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
    pairs: { type: "boolean", description: "of message trees: their ranked answers in pairs, and not conversations" },
    ids: {
      type: "boolean",
      excludes: ["json"],
      description: "prints every token with its id, one a line; * marks those that are trained",
    },
    json: { type: "boolean", description: "prints one JSON object an example: ids, trained, text" },
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const { format, template: wanted, trees, cut, strict } = recordFlags.parse(args, rawArgs);
    const { model } = args;
    const count = whole("count", args.count);
    const seed = args.seed === undefined ? null : whole("seed", args.seed, { least: 0, most: 0xffff_ffff });
    const tokenizer =
      model === undefined
        ? tokenizerFrom(trainBpe([], { size: 257 }))
        : await loadTokenizer(await locateModel(model, console, "tokenizer.json"));
    const unit = model === undefined ? "bytes" : "tokens";
    const most = model === undefined ? Number.MAX_SAFE_INTEGER : 1024;
    const tokens = args.tokens === undefined ? most : whole("tokens", args.tokens);
    const rows = await readRecords(await locateData(args.file, console), args.file);
    const preferred =
      args.pairs === true || (format === "auto" ? arePreferences(rows.rows) : !isOneOf(formats, format));
    if (preferred && format !== "auto" && !isOneOf(preferenceFormats, format))
      throw new UserError(`records of ${format} are examples to follow, and say of no answer that it is better`, {
        hint: `--pairs shows ${preferenceFormats.join(", ")}`,
        exitCode: 2,
      });
    const given = format === "auto" ? undefined : format;
    const { shown, lines } = preferred ? await preferences() : await examples();
    for (const line of lines) console.note(line);
    if (shown.length === 0) throw new UserError(`${args.file} has no record that can be shown`);
    const order = seed === null ? shown.map((_, i) => i) : shuffled(shown.length, seed, 0);
    const colour = mayColour(process.stdout);
    for (const i of order.slice(0, count)) for (const side of shown[i]!) tell(side, colour);

    async function examples(): Promise<Shown> {
      const loaded = samplesIn(rows, args.file, { format: given as Format | undefined, trees, strict });
      const template = templateFor(wanted, loaded.format, tokenizer);
      const { examples, report } = await encodeAll(loaded, { tokenizer, template, tokens, cut, strict });
      const lines = reportLines(report, `${args.file}: format ${loaded.format}`);
      return { shown: examples.map((example) => [{ example }]), lines };
    }

    async function preferences(): Promise<Shown> {
      const loaded = preferencesIn(rows, args.file, { format: given as PreferenceFormat | undefined, trees, strict });
      const template = templateFor(wanted, "messages", tokenizer);
      const encoding = { tokenizer, template, tokens, overlong: "cut", strict } as const;
      const { pairs, judged, report } = await encodePreferences(loaded, encoding);
      const sides = pairs.map(({ chosen, rejected, margin }) => [
        { as: margin === null ? "chosen" : `chosen by ${margin}`, example: chosen },
        { as: "rejected", example: rejected },
      ]);
      const labelled = judged.map(({ answer, good }) => [{ as: good ? "good" : "bad", example: answer }]);
      return {
        shown: [...sides, ...labelled],
        lines: reportLines(report, `${args.file}: format ${loaded.format}`, pairs.length > 0 ? "pairs" : "answers"),
      };
    }

    function tell({ as, example }: Side, colour: boolean): void {
      const { ids, trained, targets, where } = example;
      if (args.json) {
        const text = tokenizer.decode([...ids]);
        print(`${JSON.stringify({ where, ...(as && { as }), ids: [...ids], trained: [...trained], text })}\n`);
        return;
      }
      print(`-- ${where}${as ? `, ${as}` : ""}: ${ids.length} ${unit}, ${targets} trained\n`);
      if (args.ids)
        ids.forEach((id, t) => {
          print(`${trained[t] ? "*" : " "} ${String(id).padStart(6)}  ${JSON.stringify(tokenizer.decode([id]))}\n`);
        });
      else print(`${showExample(example, tokenizer, { colour })}\n`);
    }
  },
});

interface Side {
  /** What a preference says of it. */
  readonly as?: string;
  readonly example: Example;
}

/** What is shown together, and what became of the records. */
interface Shown {
  readonly shown: readonly (readonly Side[])[];
  readonly lines: readonly string[];
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

export default defineCommand({
  meta: { name: "data", description: "looks at data files" },
  subCommands: { show },
});
