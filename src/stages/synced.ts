/** A reference that follows the policy (TR-DPO, https://arxiv.org/abs/2404.09656, the soft update): it moves a part of the way every few steps. */
import { join } from "node:path";
import { z } from "zod";
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { writeSafetensors } from "../formats/safetensors";
import { asNamed, namedValues, readSlab } from "../formats/slabs";
import type { Slab } from "../model/slab";
import { tableParts } from "../model/table";
import { accumulate } from "../ops/add";
import { scale, subtract } from "../ops/elementwise";
import { input, type Tensor } from "../tensor/tensor";
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
  const { outputs, bind } = moved({ from: policy, to: reference, share });
  const program = new Program(device, outputs, { bind });
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

/** A slab that goes a part of the way to another of the same parameters, in place: to + share (from - to). */
export function moved({ from, to, share }: { readonly from: Slab; readonly to: Slab; readonly share: number }) {
  const [ours, theirs] = [to, from].map(({ parameters }) =>
    parameters.list.map(({ name, shape }) => input(name, shape)),
  );
  const outputs = ours!.flatMap((tensor, i) => {
    const parts = partsOf(theirs![i]!);
    return partsOf(tensor).map((part, j) => accumulate(part, scale(subtract(parts[j]!, part), share)));
  });
  return { outputs, bind: new Map([...to.bind(ours), ...from.bind(theirs)]) };
}

/** As much of a tensor as one binding may hold. */
function partsOf(tensor: Tensor): readonly Tensor[] {
  return tensor.shape.length === 2 ? tableParts(tensor).map(({ tensor }) => tensor) : [tensor];
}
