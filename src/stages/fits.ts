/** Whether a model or a stage fits the device, known before anything is allocated. */

import type { Device } from "../device/device";
import { UserError } from "../errors";
import { memory } from "../log/console";
import type { ModelConfig } from "../model/architecture";
import { type Model, modelOf } from "../model/model";

import type { Parameters } from "../model/parameters";
import type { Stage } from "../train/stage";
import { type MemoryOptions, memoryOf, stageBytes } from "./memory";

/** Throws a UserError with the numbers where a model's weights do not fit. */
export function expectWeightsFit(device: Device, config: ModelConfig, { bytes: needed, storage }: Parameters): void {
  const free = device.freeBytes();
  if (free === null || needed <= free) return;
  const small = modelOf(config, "bf16").parameters.bytes;
  throw new UserError(
    `the weights need ${memory(needed)} of device memory, and ${device.info.name} (${device.info.kind}) has ${memory(free)}`,
    {
      hint:
        storage === "f32" && small <= free
          ? `--storage bf16 holds them in ${memory(small)}`
          : "use a smaller model, or another device (--device gpu or software)",
    },
  );
}

/**
 * Says what a stage needs. Its weights are on the device already. Throws a UserError with the numbers, and with the settings that would
 * fit, where training would not.
 */
export function expectFits(
  device: Device,
  stage: Pick<Stage, "trained" | "frozen" | "graphs">,
  { name, model, batch }: { readonly name: string; readonly model: Model; readonly batch: MemoryOptions },
): number {
  const needed = stageBytes(stage, batch.optimizer);
  const held = [...stage.trained.map(({ weights }) => weights), ...stage.frozen].reduce(
    (sum, { parameters }) => sum + parameters.bytes,
    0,
  );
  const left = device.freeBytes();
  if (left === null || needed <= left + held) return needed;
  const free = left + held;
  throw new UserError(
    `${name} needs ${memory(needed)} of device memory, and ${device.info.name} (${device.info.kind}) has ${memory(free)}`,
    { hint: wouldFit(free, model, batch) },
  );
}

/** The gentlest change that fits: activations computed again, fewer rows, fewer tokens. */
function wouldFit(free: number, model: Model, { rows, tokens, optimizer }: MemoryOptions): string {
  const smaller = (from: number) => Array.from({ length: Math.floor(Math.log2(from)) + 1 }, (_, i) => from >> i);
  const tries = [
    ...smaller(rows).map((rows) => ({ rows, tokens })),
    ...smaller(tokens).map((tokens) => ({ rows: 1, tokens })),
  ];
  for (const batch of tries) {
    const { trainingBytes } = memoryOf(model, { ...batch, recompute: true, ...(optimizer && { optimizer }) });
    if (trainingBytes > free) continue;
    return `recompute = true with batch = { rows = ${batch.rows}, tokens = ${batch.tokens} } needs ${memory(trainingBytes)}`;
  }
  const least = memoryOf(model, { rows: 1, tokens: 1, recompute: true }).trainingBytes;
  const what = model.adapters.length ? "its weights" : "its weights, gradients and moments";
  return `${what} alone need ${memory(least)}: use a smaller model or another device`;
}
