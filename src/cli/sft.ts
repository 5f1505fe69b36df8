/** `dawngrad sft --model gpt2 --data FILE`: a config of one stage from the command line. */
import { defineCommand } from "citty";
import { configSchema } from "../app/config";
import { checkConfig } from "../app/config-file";
import { applyOverrides } from "../app/overrides";
import { schema } from "../stages/sft";
import { flagsOf } from "./flags";
import { all, deviceArg } from "./options";
import { startRun } from "./start";

const run = flagsOf(configSchema, { seed: "seed" });
const stage = flagsOf(schema, {
  data: "data",
  format: { path: "format", open: true },
  template: "template",
  validation: "validation",
  epochs: { path: "epochs", says: "passes over the data; --steps goes before it" },
  steps: "optim.steps",
  rows: "batch.rows",
  tokens: "batch.tokens",
  accumulate: "batch.accumulate",
  packing: "packing",
  lr: "optim.lr",
  lora: "lora",
  rank: { path: "lora.rank", needs: "lora" },
  alpha: { path: "lora.alpha", needs: "lora" },
  target: { path: "lora.targets", needs: "lora" },
  base: { path: "lora.base", needs: "lora" },
  cut: "cut",
  strict: "strict",
});

export default defineCommand({
  meta: { name: "sft", description: "fine-tunes a model on instructions, conversations or text" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    out: { type: "string", description: "the run's folder (default: runs/sft)" },
    ...stage.args,
    steps: { ...stage.args.steps, excludes: ["epochs"] },
    prompt: {
      type: "string",
      repeated: true,
      description: "a question that is answered at every evaluation; may be repeated",
    },
    ...run.args,
    set: {
      type: "string",
      repeated: true,
      description: "any other value of the config, such as --set stage.0.lora.dora=true",
    },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const prompts = all(rawArgs, "prompt");
    const raw: Record<string, unknown> = {
      name: "sft",
      ...run.collect(args, rawArgs),
      model: { from: args.model },
      stage: [
        {
          kind: "sft",
          ...stage.collect(args, rawArgs),
          ...(prompts.length && { evaluate: { every: 50 }, samples: { every: 50, before: true, prompts } }),
        },
      ],
    };
    await startRun(checkConfig(raw, { overrides: applyOverrides(raw, all(rawArgs, "set")) }), args);
  },
});
