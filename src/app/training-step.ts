/** A training step of a preset on made-up tokens, for measurements and for what compares weights to the bit. */
import type { Device } from "../device/device";
import { presets } from "../model/architectures";
import { adapterOf, targeted } from "../model/lora";
import { fitted, modelOf, withAdapters } from "../model/model";
import { nextToken } from "../model/next-token";
import { initialise, type Parameters, type Storage } from "../model/parameters";
import { Slab } from "../model/slab";
import { Optimizer } from "../optim/optimizer";
import { trainingProgram } from "../train/program";

export const adam = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };

export interface TrainingSize {
  readonly preset: string;
  readonly rows: number;
  readonly length: number;
  readonly vocabulary: number;
  /** An adapter of rank 8 on all linear layers is trained, its base held so. */
  readonly adapterOn?: Storage;
}

interface TrainingStep extends Disposable {
  readonly dispatches: number;
  run(): void;
  weights(): Float32Array;
}

/** A full training step of a preset, with AdamW, on made-up tokens. Throws a UserError, and holds nothing, where the device is too small. */
export function trainingStep(
  device: Device,
  { preset, rows, length, vocabulary, adapterOn }: TrainingSize,
): TrainingStep {
  const base = fitted(modelOf({ ...presets[preset]!, vocabulary, epsilon: 1e-5 }, adapterOn), device);
  using opening = new DisposableStack();
  const slab = (parameters: Parameters) =>
    opening.use(new Slab(device, parameters, { values: initialise(parameters, 1) }));
  const settings = { rank: 8, alpha: 16, dropout: 0, rslora: false, dora: false };
  const adapter = adapterOn && adapterOf(targeted(base.modules, ["all-linear"]), settings);
  const model = adapter ? withAdapters(base, [adapter]) : base;
  const frozen = adapter ? [slab(base.parameters)] : [];
  const weights = slab(adapter ? adapter.parameters : base.parameters);
  const optimizer = opening.use(new Optimizer(device, [{ weights }], adam));
  const { tokens, positions, targets, weight, rowPositions, ...graph } = nextToken(model, { rows, length });
  const size = rows * length;
  const program = opening.use(trainingProgram(device, graph, { trained: [{ weights }], frozen, optimizer }));
  const ids = Uint32Array.from({ length: size }, (_, i) => (i * 31 + (i >> 3)) % vocabulary);
  program.feed(positions, rowPositions);
  program.feed(weight, new Float32Array([1 / size]));
  let step = 0;
  const opened = opening.move();
  return {
    dispatches: program.dispatches,
    run() {
      optimizer.zero();
      program.feed(tokens, ids);
      program.feed(targets, ids);
      program.run();
      optimizer.update(1e-4, step++);
    },
    weights: () => weights.download(),
    [Symbol.dispose]: () => opened.dispose(),
  };
}
