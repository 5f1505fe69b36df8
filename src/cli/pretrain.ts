/** `dawngrad pretrain --data FILE`: a config of one stage from the command line. */
import { defineCommand } from "citty";
import { applyOverride, checkConfig } from "../app/config";
import { all, deviceArg, numberOf } from "./options";
import { startRun } from "./start";

export default defineCommand({
  meta: { name: "pretrain", description: "trains a new model on text" },
  args: {
    data: { type: "string", required: true, description: "a text file; may be repeated" },
    out: { type: "string", description: "the run's folder (default: runs/pretrain)" },
    preset: { type: "string", default: "micro", description: "the model's size: micro, tiny, gpt2, ..." },
    tokenizer: { type: "string", default: "bpe", description: "bpe, character, or a folder with tokenizer.json" },
    vocabulary: { type: "string", default: "4096", description: "tokens of a new bpe vocabulary" },
    steps: { type: "string", default: "500", description: "optimizer steps" },
    rows: { type: "string", default: "8", description: "sequences of a batch" },
    tokens: { type: "string", default: "128", description: "tokens of a sequence" },
    lr: { type: "string", default: "1e-3", description: "peak learning rate" },
    warmup: { type: "string", default: "20", description: "steps of warm-up" },
    seed: { type: "string", default: "1337", description: "every random choice is a function of it" },
    set: { type: "string", description: "any other value of the config, such as --set stage.0.optim.clip=0.5" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const data = all(rawArgs, "data");
    const raw: Record<string, unknown> = {
      name: "pretrain",
      seed: numberOf("seed", args.seed),
      model: { preset: args.preset },
      tokenizer: tokenizerOf(args.tokenizer, args.vocabulary),
      stage: [
        {
          kind: "pretrain",
          data: data.length === 1 ? data[0] : data,
          batch: { rows: numberOf("rows", args.rows), tokens: numberOf("tokens", args.tokens) },
          optim: {
            steps: numberOf("steps", args.steps),
            lr: numberOf("lr", args.lr),
            warmup: numberOf("warmup", args.warmup),
          },
        },
      ],
    };
    for (const override of all(rawArgs, "set")) applyOverride(raw, override);
    await startRun(checkConfig(raw), args);
  },
});

function tokenizerOf(kind: string, size: string): Record<string, unknown> {
  if (kind === "bpe") return { kind, size: numberOf("vocabulary", size) };
  return kind === "character" ? { kind } : { kind: "file", path: kind };
}
