/** `dawngrad merge --model ADAPTER --out DIR`: a model with its adapters made part of the weights. */
import { defineCommand } from "citty";
import { locateParts } from "../app/locate";
import { largestDifference, mergeModel } from "../app/merge";
import { openModel } from "../app/model";
import { openConsole } from "../log/console";
import { all, deviceArg, openFor } from "./options";
import { print } from "./print";

export default defineCommand({
  meta: { name: "merge", description: "makes adapters part of a model's weights: a model directory like any other" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "an adapter, a run that ended in one, or a model with --adapter",
    },
    adapter: {
      type: "string",
      repeated: true,
      description: "an adapter on top of the model: a folder, or a Hub name; may be repeated",
    },
    out: { type: "string", required: true, description: "the new model's folder" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const parts = await locateParts(args.model, console, { adapters: all(rawArgs, "adapter") });
    const { adapters, trainedOn } = await mergeModel(parts, args.out);
    const onto = trainedOn === "f32" ? "" : ` onto the numbers that its ${trainedOn} base stands for`;
    console.note(`merged ${adapters === 1 ? "one adapter" : `${adapters} adapters`}${onto}`);
    using device = openFor(args, console);
    using before = await openModel(device, parts, trainedOn);
    using after = await openModel(device, args.out);
    print(
      `${args.out}\nlargest difference of the logits: ${largestDifference(device, before, after).toExponential(2)}\n`,
    );
  },
});
