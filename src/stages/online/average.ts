/** The moving average of the policy's weights over steps, which is what is saved as the model (https://arxiv.org/abs/2203.02155, appendix C.4). */
import { join } from "node:path";
import { Program } from "../../autograd/program";
import type { Device } from "../../device/device";
import { writeSafetensors } from "../../formats/safetensors";
import { asNamed, namedValues, readSlab } from "../../formats/slabs";
import { Slab } from "../../model/slab";
import type { Tokenizer } from "../../text/tokenizer";
import { moved } from "../synced";
import type { TrainedModel } from "../trained";

/** The weights themselves, beside their average. */
const FILE = "policy.safetensors";

export interface Average extends Disposable {
  /** Before a step: takes in what the one before has made of the weights. A step may be asked for again. */
  before(step: number): void;
  write(directory: string, tokenizer: Tokenizer): Promise<void>;
  /** After the policy was read, whose weights are then the average. */
  read(directory: string): void;
}

export function averageOf(device: Device, policy: TrainedModel, decay: number): Average {
  const { parameters } = policy.weights;
  // The same layout over other memory: its tensors are bound to the average, and a copy's to the weights.
  const average = new Slab(device, parameters, { values: policy.weights.download() });
  const { outputs, bind } = moved({ from: policy.weights, to: average, share: 1 - decay });
  const program = new Program(device, outputs, { bind });
  let taken: number | null = null;
  const take = () => {
    if (taken === null) return;
    program.run();
    taken = null;
  };
  let last = -1;
  return {
    before(step) {
      if (step === last) return;
      take();
      last = step;
      taken = step;
    },
    async write(directory, tokenizer) {
      take();
      await policy.write(directory, tokenizer, average);
      await writeSafetensors(join(directory, FILE), namedValues(policy.weights, asNamed));
    },
    read(directory) {
      const values = policy.weights.download();
      for (const parameter of parameters.list)
        average.write(parameter, values.subarray(parameter.offset, parameter.offset + parameter.size));
      readSlab(join(directory, FILE), policy.weights, asNamed);
    },
    [Symbol.dispose]() {
      program[Symbol.dispose]();
      average[Symbol.dispose]();
    },
  };
}
