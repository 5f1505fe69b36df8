/** `dawngrad pretrain --data FILE`: a config of one stage from the command line. */
import { defineCommand } from "citty";
import { configSchema, tokenizerSchema } from "../app/config";
import { checkConfig } from "../app/config-file";
import { applyOverrides } from "../app/overrides";
import { schema } from "../stages/pretrain";
import { flagsOf } from "./flags";
import { all, deviceArg } from "./options";
import { startRun } from "./start";

/** Small enough to see in minutes what comes of a text; a config says how long it is to take. */
const own = { steps: 500, lr: 1e-3, warmup: 20 };

const run = flagsOf(configSchema, {
  preset: { path: "model.preset", open: true, says: "the model's size: micro, tiny, gpt2, ..." },
  seed: "seed",
});
const tokenizer = flagsOf(tokenizerSchema, { vocabulary: { path: "size", says: "tokens of a new bpe vocabulary" } });
const stage = flagsOf(
  schema,
  {
    data: "data",
    steps: "optim.steps",
    rows: "batch.rows",
    tokens: "batch.tokens",
    lr: "optim.lr",
    warmup: "optim.warmup",
  },
  own,
);

export default defineCommand({
  meta: { name: "pretrain", description: "trains a new model on text" },
  args: {
    ...stage.args,
    out: { type: "string", description: "the run's folder (default: runs/pretrain)" },
    ...run.args,
    tokenizer: { type: "string", default: "bpe", description: "bpe, character, or a folder with tokenizer.json" },
    vocabulary: { ...tokenizer.args.vocabulary, needs: ["tokenizer=bpe"] },
    set: {
      type: "string",
      repeated: true,
      description: "any other value of the config, such as --set stage.0.optim.clip=0.5",
    },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const kind = args.tokenizer;
    const { optim, ...more } = stage.collect(args, rawArgs) as { optim: { steps: number; warmup: number } };
    // A few steps have no room for the default's warm-up.
    const warmup = all(rawArgs, "warmup").length ? optim.warmup : Math.min(optim.warmup, optim.steps);
    const raw: Record<string, unknown> = {
      name: "pretrain",
      ...run.collect(args, rawArgs),
      tokenizer:
        kind === "bpe"
          ? { kind, ...tokenizer.collect(args, rawArgs) }
          : kind === "character"
            ? { kind }
            : { kind: "file", path: kind },
      stage: [{ kind: "pretrain", ...more, optim: { ...optim, warmup } }],
    };
    await startRun(checkConfig(raw, { overrides: applyOverrides(raw, all(rawArgs, "set")) }), args);
  },
});
