/** `dawngrad quantize --model MODEL --scheme int8 --out DIR`: a model's matrices in 8 or 4 bits a weight. */
import { defineCommand } from "citty";
import { z } from "zod";
import { locateData, locateParts } from "../app/locate";
import { UserError } from "../errors";
import { writeNew } from "../files";
import { openConsole } from "../log/console";
import { quantisedLines, writeQuantised } from "../stages/quantising";
import { checkScheme, schema } from "../stages/quantize";
import { loadTokenizer } from "../text/tokenizer";
import { flagsOf } from "./flags";
import { deviceArg, openFor } from "./options";
import { print } from "./print";

const { kind: _kind, name: _name, from: _from, ...given } = schema.shape;

const settings = flagsOf(z.object(given), {
  scheme: "scheme",
  data: "data",
  calibration: "calibration",
  template: "template",
});

export default defineCommand({
  meta: {
    name: "quantize",
    description: "holds a model's matrices in 8 or 4 bits a weight: a smaller model directory",
  },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run, a checkpoint, a model directory, or a Hub name; merge an adapter first",
    },
    out: { type: "string", required: true, description: "the new model's folder" },
    ...settings.args,
    json: { type: "boolean", description: "prints one JSON object" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const wanted = settings.parse(args, rawArgs);
    checkScheme(wanted);
    const { base: from, adapters, tokenizer: said } = await locateParts(args.model, console);
    if (adapters.length > 0)
      throw new UserError(`${args.model} is an adapter, and a whole model is quantised`, {
        hint: "dawngrad merge makes one of it",
        exitCode: 2,
      });
    const tokenizer = await loadTokenizer(said);
    using device = openFor(args, console);
    const find = (path: string) => locateData(path, console);
    const figures = await writeNew(args.out, (out) =>
      writeQuantised(device, { from, out, tokenizer }, wanted, { console, find }),
    );
    print(args.json ? `${JSON.stringify(figures)}\n` : `${[args.out, ...quantisedLines(figures)].join("\n")}\n`);
  },
});
