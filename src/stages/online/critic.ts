/** What expects rewards: a scalar head on the policy's own trunk, or a model of its own that starts from a reward model. */
import { join } from "node:path";
import { writeSafetensors } from "../../formats/safetensors";
import { asNamed, namedValues, readSlab } from "../../formats/slabs";
import { SCORE, scoreSpec } from "../../model/architecture";
import type { Model } from "../../model/model";
import { layOut, parameter } from "../../model/parameters";
import { Slab } from "../../model/slab";
import { scale, shift } from "../../ops/elementwise";
import { gather } from "../../ops/gather";
import { matmul } from "../../ops/matmul";
import { sizeOf } from "../../tensor/shape";
import { type Tensor, view } from "../../tensor/tensor";
import { heldIn, type LoraConfig } from "../../train/settings";
import type { Context } from "../context";
import { type TrainedModel, trainedParts } from "../trained";
import type { OnPolicy } from "./feeding";
import { type Scorer, type ScorerOptions, tokenValues } from "./scorer";
import { openScoring } from "./scoring-model";

export interface Critic extends Disposable {
  /** What of it is trained. */
  readonly weights: Slab;
  readonly frozen: readonly Slab[];
  /** [N]: what it expects before each token, differentiable. */
  values(on: OnPolicy): Tensor;
  /** The same of answers, as numbers. */
  readonly scorer: Scorer;
  write(directory: string): void | Promise<void>;
  read(directory: string): void;
}

export interface CriticOptions extends Pick<ScorerOptions, "device" | "rows" | "shapes" | "scratch"> {
  readonly policy: TrainedModel;
  readonly recompute: boolean;
  readonly activations: "f32" | "bf16";
}

const FILE = "critic.safetensors";

/** Begins at 0: it expects nothing. */
export function headCritic({ policy, device, rows, shapes, scratch }: CriticOptions): Critic {
  const { width } = policy.model.config;
  const parameters = layOut([{ ...scoreSpec(width), init: { value: 0 } }]);
  const weights = new Slab(device, parameters, { values: new Float32Array(parameters.size) });
  const head = parameter(parameters, SCORE).tensor;
  const expected = (x: Tensor) => {
    const y = matmul(x, head, { transposeB: true });
    return view(y, [sizeOf(y.shape)]);
  };
  const scorer = tokenValues(
    { device, model: policy.model, slabs: [...policy.slabs, weights], rows, shapes, scratch },
    (_, x) => expected(x),
  );
  return {
    weights,
    frozen: [],
    values: ({ completions }) => expected(completions.rows),
    scorer,
    write: (directory) => writeSafetensors(join(directory, FILE), namedValues(weights, asNamed)),
    read: (directory) => readSlab(join(directory, FILE), weights, asNamed),
    [Symbol.dispose]() {
      for (const one of [scorer, weights]) one[Symbol.dispose]();
    },
  };
}

/** Its values are on the scale of the model's own scores, its gain and bias applied. */
export async function modelCritic(
  given: string,
  lora: LoraConfig | undefined,
  context: Context,
  { device, rows, shapes, scratch, recompute, activations }: CriticOptions,
  length: number,
): Promise<Critic> {
  const as = lora ? { storage: heldIn(lora) ?? ("auto" as const) } : { scored: true };
  const source = await openScoring(context, { key: "critic", what: `the critic ${given}`, length, as });
  const trained = trainedParts(lora, { ...context, ...source }, { scored: true });
  const { gain, bias } = source.normalisation;
  const expected = (model: Model, x: Tensor) => shift(scale(model.scores(x), gain), bias);
  const scorer = tokenValues({ device, model: trained.model, slabs: trained.slabs, rows, shapes, scratch }, expected);
  return {
    weights: trained.weights,
    frozen: trained.frozen,
    values({ asked: { tokens, positions, places }, length }) {
      const { model } = trained;
      return expected(model, gather(model.hidden(tokens, positions, { length, recompute, activations }), places));
    },
    scorer,
    write: (directory) => writeSafetensors(join(directory, FILE), namedValues(trained.weights, asNamed)),
    read: (directory) => readSlab(join(directory, FILE), trained.weights, asNamed),
    [Symbol.dispose]() {
      for (const one of [scorer, trained, source]) one[Symbol.dispose]();
    },
  };
}
