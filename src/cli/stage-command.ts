/** A command that is a config of one stage. */
import type { ArgDef, ArgsDef, CommandDef } from "citty";
import type { z } from "zod";
import { configSchema } from "../app/config";
import { checkConfig } from "../app/config-file";
import { applyOverrides } from "../app/overrides";
import { flagsOf, type Target } from "./flags";
import { all, type DeviceArgs, deviceArg } from "./options";
import { startRun } from "./start";
import type { More } from "./words";

const run = flagsOf(configSchema, { seed: "seed" });

/** Flags that all stages have which go on from a model with examples. */
export const learning = {
  data: "data",
  template: "template",
  validation: "validation",
  epochs: { path: "epochs", says: "passes over the data; --steps goes before it" },
  steps: "optim.steps",
  rows: "batch.rows",
  tokens: "batch.tokens",
  accumulate: "batch.accumulate",
  lr: "optim.lr",
  lora: "lora",
  rank: { path: "lora.rank", needs: "lora" },
  alpha: { path: "lora.alpha", needs: "lora" },
  target: { path: "lora.targets", needs: "lora" },
  base: { path: "lora.base", needs: "lora" },
  strict: "strict",
} as const satisfies Readonly<Record<string, Target>>;

/** What citty makes of the words. */
type StageArgs = DeviceArgs & { readonly out?: string };

export interface StageCommand {
  readonly kind: string;
  readonly description: string;
  readonly schema: z.ZodType;
  readonly flags: Readonly<Record<string, Target>>;
  /** What an example of --set sets. */
  readonly example: string;
  /** What `--model` is, where it may be left out. */
  readonly student?: string;
  /** Questions may be asked at every evaluation. */
  readonly prompts?: boolean;
}

export function stageCommand({
  kind,
  description,
  schema,
  flags,
  example,
  student,
  prompts = true,
}: StageCommand): CommandDef {
  const stage = flagsOf(schema, flags);
  const args: Readonly<Record<string, ArgDef & More>> = {
    model: {
      type: "string",
      required: student === undefined,
      description: student ?? "a run, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    out: { type: "string", description: `the run's folder (default: runs/${kind})` },
    ...stage.args,
    steps: { ...stage.args.steps!, excludes: ["epochs"] },
    ...(prompts && {
      prompt: {
        type: "string",
        repeated: true,
        description: "a question that is answered at every evaluation; may be repeated",
      },
    }),
    ...run.args,
    set: {
      type: "string",
      repeated: true,
      description: `any other value of the config, such as --set stage.0.${example}`,
    },
    ...deviceArg,
  };
  return {
    meta: { name: kind, description },
    args: args as ArgsDef,
    async run({ args, rawArgs }) {
      const asked = prompts ? all(rawArgs, "prompt") : [];
      const raw: Record<string, unknown> = {
        name: kind,
        ...run.collect(args, rawArgs),
        ...(args.model !== undefined && { model: { from: args.model } }),
        stage: [
          {
            kind,
            ...stage.collect(args, rawArgs),
            ...(asked.length && { evaluate: { every: 50 }, samples: { every: 50, before: true, prompts: asked } }),
          },
        ],
      };
      await startRun(
        checkConfig(raw, { overrides: applyOverrides(raw, all(rawArgs, "set")) }),
        args as unknown as StageArgs,
      );
    },
  };
}
