/** A rule and clipping by the global norm, over slabs: what measures and what applies is recorded, with no readback on ordinary steps. */
import fillSource from "../../kernels/fill.wgsl" with { type: "text" };
import normSource from "../../kernels/norm.wgsl" with { type: "text" };
import {
  type Device,
  type DeviceBuffer,
  type Dispatch,
  linear,
  type Recording,
  type Slice,
  whole,
} from "../device/device";
import { Slab } from "../model/slab";
import { adamw } from "./adamw";
import { lion } from "./lion";
import { muon } from "./muon";
import type { Applied, Rule, RuleOptions, Window } from "./rule";

export const rules = { adamw, lion, muon } as const satisfies Readonly<Record<string, Rule>>;
export type RuleName = keyof typeof rules;

export interface OptimizerOptions extends Omit<RuleOptions, "momentum"> {
  /** AdamW if absent. */
  readonly kind?: RuleName;
  /** Muon's; 0.95 if absent. */
  readonly momentum?: number;
  /** The norm that gradients are scaled down to; 0 for no clipping. */
  readonly clip: number;
  /** Epsilon is added before the second moment is corrected, as TensorFlow does it. */
  readonly tensorflowEpsilon?: boolean;
}

/** Moments that a rule keeps of each weight. */
export function momentsOf({ kind = "adamw" }: Pick<OptimizerOptions, "kind">): 1 | 2 {
  return kind === "lion" ? 1 : 2;
}

/** One of the slabs that are trained together: their gradients have one norm, and are clipped as one. */
export interface Trained {
  readonly weights: Slab;
  /** What the learning rate is multiplied with; 1 if absent. */
  readonly rate?: number;
  /** Tells its moments apart in a checkpoint where there are several, such as critic. */
  readonly name?: string;
}

export interface UpdateStats {
  /** Of all gradients, before clipping. */
  readonly norm: number;
  /** The first step whose loss or gradients were not finite; the weights are those before it. */
  readonly badStep: number | null;
  /** What was added up over the step: the loss and what else is told. */
  readonly sums: Float32Array;
}

/** Elements behind the gradients: the loss and the metrics of a step are added up there. */
export const TAIL = 64;
/** Workgroups that measure a window of the slab, each into one partial sum, and their lanes: a GPU has more to do at a time. */
const normSizes = { software: { partials: 256, lanes: 8 }, gpu: { partials: 1024, lanes: 256 } };
/** Stands for the square of what is not finite: larger than any sum of squares that trains. */
const LIMIT = 3e38;

/** A run of the elements of one of the trained slabs. */
interface Run extends Window {
  readonly of: number;
}

export class Optimizer implements Disposable {
  /** Of each trained slab. */
  readonly gradients: readonly Slab[];
  /** What a resumed run must have, by name: the moments. */
  readonly state: readonly (readonly [name: string, slab: Slab])[];
  private readonly device: Device;
  private readonly options: OptimizerOptions;
  private readonly rates: readonly number[];
  /** Of each trained slab: its learning rate, the moments' corrections, the step. */
  private readonly schedules: readonly DeviceBuffer[];
  private readonly stats: DeviceBuffer;
  private readonly partials: DeviceBuffer;
  private readonly zeroing: Recording;
  private readonly measuring: Recording;
  private readonly applying: readonly Applied[];
  private readonly scheduleValues = new Float32Array(4);
  private readonly statsValues = new Float32Array(3);
  private readonly sumsValues = new Float32Array(TAIL);

  constructor(device: Device, trained: readonly Trained[], options: OptimizerOptions) {
    if (options.tensorflowEpsilon && options.weightDecay > 0)
      throw new Error("epsilon as TensorFlow adds it does not go with weight decay");
    this.device = device;
    this.options = options;
    this.rates = trained.map(({ rate = 1 }) => rate);
    const layouts = trained.map(({ weights }) => weights.parameters);
    for (const { storage } of layouts)
      if (storage !== "f32") throw new Error(`weights that are stored in ${storage} cannot be trained`);
    this.gradients = layouts.map((parameters, i) => new Slab(device, parameters, { tail: i === 0 ? TAIL : 0 }));
    const moments = layouts.map(
      (parameters) =>
        [new Slab(device, parameters), momentsOf(options) === 2 ? new Slab(device, parameters) : null] as const,
    );
    this.state = trained.flatMap(({ name }, i) => {
      const prefix = name === undefined ? "" : `${name}.`;
      const [first, second] = moments[i]!;
      return [[`${prefix}first`, first] as const, ...(second ? [[`${prefix}second`, second] as const] : [])];
    });
    if (new Set(this.state.map(([name]) => name)).size < this.state.length)
      throw new Error("slabs that are trained together need names of their own");
    this.schedules = trained.map(() => device.allocate(16));
    this.stats = device.allocate(16);
    const windows = this.gradients.flatMap((slab, of) =>
      windowsOf(of, slab.parameters.size + (of === 0 ? TAIL : 0), device.traits.maxBindingBytes),
    );
    this.partials = device.allocate(4 * this.normSize.partials * windows.length);
    this.zeroing = device.record(windows.map((window) => this.zeroWindow(window)));
    this.measuring = device.record(this.normDispatches(windows));
    const { kind = "adamw", momentum = 0.95 } = options;
    this.applying = trained.map(({ weights }, i) =>
      rules[kind](
        device,
        {
          weights,
          gradients: this.gradients[i]!,
          moments: moments[i]!,
          windows: windowsOf(i, weights.parameters.size, device.traits.maxBindingBytes),
          stats: this.stats,
          schedule: this.schedules[i]!,
        },
        { ...options, momentum },
      ),
    );
  }

  /** Clears the gradients and the sums, before a step's first micro-batch. */
  zero(): void {
    this.zeroing.replay();
  }

  /** The norm of the gradients and their health, for a step with learning rate `rate`; `step` counts from 0. */
  measure(rate: number, step: number): void {
    const { beta1, beta2, tensorflowEpsilon } = this.options;
    const [first, second] = [1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)];
    // (m / first) / (sqrt(v / second) + e / sqrt(second)) is sqrt(second) (m / first) / (sqrt(v) + e).
    const [by, corrected] = tensorflowEpsilon ? [Math.sqrt(second), 1] : [1, second];
    this.schedules.forEach((schedule, i) => {
      this.scheduleValues.set([rate * this.rates[i]! * by, first, corrected, step]);
      this.device.upload(whole(schedule), this.scheduleValues);
    });
    this.measuring.replay();
  }

  /** Changes the weights by what was measured; not at all where that was not finite. */
  apply(): void {
    for (const applied of this.applying) applied.replay();
  }

  /** Both, where one process has all gradients. */
  update(rate: number, step: number): void {
    this.measure(rate, step);
    this.apply();
  }

  /** Norm, health and sums after the last update. Waits for the device. */
  read(): UpdateStats {
    this.device.download(whole(this.stats), this.statsValues);
    this.device.download(this.sums, this.sumsValues);
    const [norm = 0, , bad = 0] = this.statsValues;
    return { norm, badStep: bad > 0 ? bad - 1 : null, sums: this.sumsValues };
  }

  /** Where a step's loss and metrics are added up: behind the first slab's gradients. */
  get sums(): Slice {
    const first = this.gradients[0]!;
    return first.slice(first.parameters.size, TAIL);
  }

  private zeroWindow({ of, offset, count }: Run): Dispatch {
    return {
      kernel: { name: "fill", source: fillSource, entry: "forward" },
      params: { count, value: 0 },
      output: this.gradients[of]!.slice(offset, count),
      inputs: [],
      workgroups: linear(count, 256),
    };
  }

  private get normSize() {
    return this.device.traits.software ? normSizes.software : normSizes.gpu;
  }

  private normDispatches(windows: readonly Run[]): Dispatch[] {
    const { clip } = this.options;
    const { partials, lanes } = this.normSize;
    const kernel = (entry: string) => ({
      name: "norm",
      source: normSource,
      entry,
      constants: { LANES: lanes },
    });
    const partial = windows.map(({ of, offset, count }, i): Dispatch => {
      const slab = this.gradients[of]!;
      return {
        kernel: kernel("partial"),
        params: { count: Math.min(count, slab.parameters.size - offset), first: i * partials, clip, limit: LIMIT },
        output: whole(this.partials),
        inputs: [slab.slice(offset, count)],
        workgroups: [partials, 1, 1],
      };
    });
    const finish: Dispatch = {
      kernel: kernel("finish"),
      params: { count: windows.length * partials, first: 0, clip, limit: LIMIT },
      output: whole(this.stats),
      inputs: [whole(this.partials), whole(this.schedules[0]!), this.sums],
      workgroups: [1, 1, 1],
    };
    return [...partial, finish];
  }

  [Symbol.dispose](): void {
    for (const one of [this.zeroing, this.measuring, ...this.applying]) one[Symbol.dispose]();
    for (const slab of [...this.gradients, ...this.state.map(([, slab]) => slab)]) slab[Symbol.dispose]();
    for (const buffer of [...this.schedules, this.stats, this.partials]) buffer.free();
  }
}

/** Runs of at most what one binding may hold. */
function windowsOf(of: number, size: number, maxBindingBytes: number): Run[] {
  const most = Math.floor(maxBindingBytes / 256) * 64;
  return Array.from({ length: Math.ceil(size / most) }, (_, i) => ({
    of,
    offset: i * most,
    count: Math.min(most, size - i * most),
  }));
}
