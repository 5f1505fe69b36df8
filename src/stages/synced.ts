/** A reference that follows the policy (TR-DPO, https://arxiv.org/abs/2404.09656, the soft update): it moves a part of the way every few steps. */
import { join } from "node:path";
import { z } from "zod";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { writeSafetensors } from "../formats/safetensors";
import { asNamed, namedValues, readSlab } from "../formats/slabs";
import { bindAll, type Slab } from "../model/slab";
import { tableParts } from "../model/table";
import { accumulate } from "../ops/add";
import { scale, subtract } from "../ops/elementwise";
import type { Tensor } from "../tensor/tensor";
import type { Method } from "./compared";

export const sync = z.strictObject({
  every: z.int().min(1).default(512).meta({ description: "steps between the reference's moves" }),
  share: z
    .number()
    .gt(0)
    .max(1)
    .default(0.6)
    .meta({ description: "how far it moves towards the policy; 1 is all the way" }),
});

const FILE = "reference.safetensors";

type Synced = Required<Pick<Method<unknown>, "state" | "write" | "read">> & Disposable & { before(step: number): void };

/** The move is made before a step, after `every` of them: what is saved behind a step has not seen it yet. */
export function synced(
  device: Device,
  { policy, reference, every, share }: z.infer<typeof sync> & { readonly policy: Slab; readonly reference: Slab },
): Synced {
  const moved = reference.parameters.list.flatMap(({ tensor }, i) => {
    const from = partsOf(policy.parameters.list[i]!.tensor);
    return partsOf(tensor).map((part, j) => accumulate(part, scale(subtract(from[j]!, part), share)));
  });
  const program = new Program(device, moved, { bind: bindAll([policy, reference]) });
  // The step before which it last moved: such a step may be asked for again.
  let last = 0;
  return {
    before(step) {
      if (step === last || step % every !== 0) return;
      program.run();
      last = step;
    },
    state: {
      save: () => ({ synced: last }),
      load(json) {
        last = (json as { readonly synced: number }).synced;
      },
    },
    write: (directory) => writeSafetensors(join(directory, FILE), namedValues(reference, asNamed)),
    read: (directory) => readSlab(join(directory, FILE), reference, asNamed),
    [Symbol.dispose]: () => program[Symbol.dispose](),
  };
}

/** As much of a tensor as one binding may hold. */
function partsOf(tensor: Tensor): readonly Tensor[] {
  return tensor.shape.length === 2 ? tableParts(tensor).map(({ tensor }) => tensor) : [tensor];
}
