/** What a config would do, as text: stages, sizes, memory. */

import { type Console, memory, short } from "../log/console";
import { modelOf } from "../model/model";

import { settingsOf } from "../stages";
import type { Config } from "./config";
import { memoryOf } from "./memory";
import { plannedModel, plannedTraining } from "./planned";

/** For `run --plan`. */
export async function planText(config: Config, console: Console): Promise<string> {
  const { tokenizer } = config;
  const { from } = config.model;
  const model = modelOf(await plannedModel(config, console));
  const { layers, heads, width, context } = model.config;
  const lines = [
    `run ${config.name}, seed ${config.seed}`,
    `model: ${layers} layers, ${heads} heads, width ${width}, context ${context}, ${short(model.parameters.count)} parameters`,
    from !== undefined
      ? `weights and tokenizer: ${from}`
      : `tokenizer: ${tokenizer.kind}${"size" in tokenizer ? ` of ${tokenizer.size} tokens` : ""}`,
  ];
  config.stage.forEach((stage, i) => {
    const { evaluate, save } = stage;
    const { optim } = settingsOf(stage);
    const { steps } = stage.optim;
    const { model: trained, batch } = plannedTraining(stage, model.config);
    const tokens = batch.rows * batch.tokens * stage.batch.accumulate;
    const needed = memoryOf(trained, batch);
    const lora = stage.kind === "sft" ? stage.lora : undefined;
    lines.push(
      `stage ${i + 1}: ${stage.kind} on ${[stage.data].flat().join(", ")}`,
      `  ${steps ?? (stage.kind === "sft" && `${stage.epochs} epochs in`)} steps of ${batch.rows} x ${batch.tokens} x ${stage.batch.accumulate} = ${tokens} tokens${steps ? `, ${short(steps * tokens)} in all` : " at most"}`,
      ...(lora
        ? [
            `  adapter of rank ${lora.rank} for ${lora.targets.join(", ")}: ${short(trained.adapters[0]!.parameters.count)} parameters are trained; the base in ${lora.base}`,
          ]
        : []),
      `  AdamW, ${optim.schedule} schedule, peak ${optim.lr}, ${optim.warmup} steps of warm-up, clip ${optim.clip}`,
      `  evaluation every ${evaluate.every} steps, a checkpoint every ${save.every}, ${save.keep} kept`,
      `  device memory: ${memory(needed.trainingBytes)}`,
    );
  });
  if (config.generate)
    lines.push(`then ${config.generate.prompts.length} continuations of ${config.generate.tokens} tokens`);
  return `${lines.join("\n")}\n`;
}
