/** Why a step was not finite. */
import { UserError } from "../errors";
import type { Optimizer } from "../optim/optimizer";
import { readIndex } from "./checkpoints";
import type { Programs } from "./program";
import type { Stage } from "./stage";
import type { Share } from "./world";

export interface Scene {
  readonly stage: Stage;
  readonly programs: Programs;
  readonly optimizer: Optimizer;
  readonly directory: string;
  readonly share: Share;
}

/** Runs the bad step once more, whole, on weights that it did not change, to say where it went wrong. */
export async function badStepError(
  step: number,
  { stage, programs, optimizer, directory, share }: Scene,
): Promise<UserError> {
  optimizer.zero();
  for await (const batch of stage.step(step, share)) programs.run(batch);
  const loss = optimizer.read().sums[0]!;
  const tensors = optimizer.gradients.flatMap((slab) => {
    const gradient = slab.download();
    return slab.parameters.list.map(({ name, offset, size }) => ({
      name,
      part: gradient.subarray(offset, offset + size),
    }));
  });
  const bad = tensors.filter(({ part }) => part.some((v) => !Number.isFinite(v)));
  const where = bad.length
    ? `gradients of ${bad.length} of ${tensors.length} tensors are not finite, ${bad.at(-1)!.name} among them`
    : "";
  const cause = Number.isFinite(loss) ? where : `the loss is ${loss}${where && `; ${where}`}`;
  const saved = readIndex(directory);
  return new UserError(`step ${step + 1} is not finite: ${cause || "its gradients are too large"}`, {
    hint: `lower optim.lr or raise optim.warmup; ${saved ? `the last good checkpoint is ${directory}/${saved.latest}` : "no checkpoint was saved yet"}`,
  });
}
