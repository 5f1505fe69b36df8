/** `dawngrad sft --model gpt2 --data FILE`: a config of one stage from the command line. */
import { defineCommand } from "citty";
import { applyOverride, checkConfig } from "../app/config";
import { storages } from "../model/parameters";
import { all, deviceArg, numberOf } from "./options";
import { startRun } from "./start";

export default defineCommand({
  meta: { name: "sft", description: "fine-tunes a model on instructions, conversations or text" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    data: { type: "string", required: true, description: "a data file, or the name of a data set; may be repeated" },
    out: { type: "string", description: "the run's folder (default: runs/sft)" },
    format: { type: "string", default: "auto", description: "what the records are; auto goes by their fields" },
    template: { type: "string", default: "auto", description: "auto, alpaca, instruction, chat, or a Jinja file" },
    validation: {
      type: "string",
      default: "0.05",
      description: "share of the examples that is held out, or a data file",
    },
    epochs: { type: "string", default: "3", description: "passes over the data" },
    steps: { type: "string", description: "optimizer steps, instead of epochs" },
    rows: { type: "string", default: "8", description: "rows of a batch" },
    tokens: { type: "string", description: "tokens of a row (default: the smaller of 1024 and the model's context)" },
    accumulate: { type: "string", default: "1", description: "batches whose gradients are added up for one step" },
    packing: { type: "boolean", description: "several examples a row, attention kept inside each" },
    lr: { type: "string", description: "peak learning rate (default: 2e-5, with --lora 2e-4)" },
    lora: { type: "boolean", description: "trains an adapter, and not the model" },
    rank: { type: "string", default: "16", description: "with --lora: columns of the two narrow matrices" },
    alpha: { type: "string", default: "32", description: "with --lora: what they add is multiplied by alpha / rank" },
    target: {
      type: "string",
      description: "with --lora: layers, such as attn.c_attn, head or all-linear; may be repeated",
    },
    base: {
      type: "enum",
      options: [...storages],
      default: "f32",
      description: "with --lora: how the frozen base is held; nf4 is QLoRA",
    },
    prompt: { type: "string", description: "a question that is answered at every evaluation; may be repeated" },
    strict: { type: "boolean", description: "stops at the first record that cannot be used as it is" },
    seed: { type: "string", default: "1337", description: "every random choice is a function of it" },
    set: { type: "string", description: "any other value of the config, such as --set stage.0.lora.dora=true" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const data = all(rawArgs, "data");
    const targets = all(rawArgs, "target");
    const prompts = all(rawArgs, "prompt");
    const share = Number(args.validation);
    const optional = (name: "steps" | "lr" | "tokens") =>
      args[name] === undefined ? {} : { [name]: numberOf(name, args[name]) };
    const raw: Record<string, unknown> = {
      name: "sft",
      seed: numberOf("seed", args.seed),
      model: { from: args.model },
      stage: [
        {
          kind: "sft",
          data: data.length === 1 ? data[0] : data,
          format: args.format,
          template: args.template,
          validation: Number.isNaN(share) ? args.validation : share,
          epochs: numberOf("epochs", args.epochs),
          packing: args.packing ?? false,
          strict: args.strict ?? false,
          batch: {
            rows: numberOf("rows", args.rows),
            accumulate: numberOf("accumulate", args.accumulate),
            ...optional("tokens"),
          },
          optim: { ...optional("steps"), ...optional("lr") },
          ...(args.lora && {
            lora: {
              rank: numberOf("rank", args.rank),
              alpha: numberOf("alpha", args.alpha),
              base: args.base,
              ...(targets.length && { targets }),
            },
          }),
          ...(prompts.length && { evaluate: { every: 50 }, samples: { every: 50, before: true, prompts } }),
        },
      ],
    };
    for (const override of all(rawArgs, "set")) applyOverride(raw, override);
    await startRun(checkConfig(raw), args);
  },
});
