/** AdamW and clipping by the global norm, over the slabs: two recordings, no readback on ordinary steps. */
import adamwSource from "../../kernels/adamw.wgsl" with { type: "text" };
import fillSource from "../../kernels/fill.wgsl" with { type: "text" };
import normSource from "../../kernels/norm.wgsl" with { type: "text" };
import { type Buffer, type Device, type Dispatch, linear, type Recording, type Slice, whole } from "../device/device";
import { Slab } from "../model/slab";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay, applied to matrices only. */
  readonly weightDecay: number;
  /** The norm that gradients are scaled down to; 0 for no clipping. */
  readonly clip: number;
}

export interface UpdateStats {
  /** Of the gradients, before clipping. */
  readonly norm: number;
  /** The first step whose loss or gradients were not finite; the weights are those before it. */
  readonly badStep: number | null;
  /** What was added up in the gradient slab's tail over the step. */
  readonly tail: Float32Array;
}

/** Elements behind the gradients: the loss and the metrics of a step are added up there. */
export const TAIL = 64;
/** Partial sums of squares for each window of the slab. */
const PARTIALS = 256;
/** Stands for the square of what is not finite: larger than any sum of squares that trains. */
const LIMIT = 3e38;

interface Window {
  readonly offset: number;
  readonly count: number;
}

export class AdamW implements Disposable {
  readonly gradients: Slab;
  readonly first: Slab;
  readonly second: Slab;
  private readonly device: Device;
  private readonly options: AdamWOptions;
  private readonly schedule: Buffer;
  private readonly stats: Buffer;
  private readonly partials: Buffer;
  private readonly zeroing: Recording;
  private readonly updating: Recording;
  private readonly scheduleValues = new Float32Array(4);
  private readonly statsValues = new Float32Array(3);
  private readonly tailValues = new Float32Array(TAIL);

  constructor(device: Device, weights: Slab, options: AdamWOptions) {
    this.device = device;
    this.options = options;
    const { parameters } = weights;
    if (parameters.storage !== "f32")
      throw new Error(`weights that are stored in ${parameters.storage} cannot be trained`);
    this.gradients = new Slab(device, parameters, { tail: TAIL });
    this.first = new Slab(device, parameters);
    this.second = new Slab(device, parameters);
    this.schedule = device.allocate(16);
    this.stats = device.allocate(16);
    const windows = windowsOf(parameters.size + TAIL, device.traits.maxBindingBytes);
    this.partials = device.allocate(4 * PARTIALS * windows.length);
    this.zeroing = device.record(windows.map((window) => this.zeroWindow(window)));
    this.updating = device.record([
      ...this.normDispatches(windows),
      ...windows.flatMap((window) => this.adamWindow(weights, window)),
    ]);
  }

  /** Clears the gradients and the tail, before a step's first micro-batch. */
  zero(): void {
    this.zeroing.replay();
  }

  /** One step with learning rate `lr`; `step` counts from 0. */
  update(lr: number, step: number): void {
    const { beta1, beta2 } = this.options;
    this.scheduleValues.set([lr, 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1), step]);
    this.device.upload(whole(this.schedule), this.scheduleValues);
    this.updating.replay();
  }

  /** Norm, health and tail after the last update. Waits for the device. */
  read(): UpdateStats {
    this.device.download(whole(this.stats), this.statsValues);
    this.device.download(this.tail, this.tailValues);
    const [norm = 0, , bad = 0] = this.statsValues;
    return { norm, badStep: bad > 0 ? bad - 1 : null, tail: this.tailValues };
  }

  /** Where a step's loss and metrics are added up. */
  get tail(): Slice {
    return this.gradients.slice(this.gradients.parameters.size, TAIL);
  }

  private zeroWindow({ offset, count }: Window): Dispatch {
    return {
      kernel: { name: "fill", source: fillSource, entry: "forward" },
      params: { count, value: 0 },
      output: this.gradients.slice(offset, count),
      inputs: [],
      workgroups: linear(count, 256),
    };
  }

  private normDispatches(windows: readonly Window[]): Dispatch[] {
    const kernel = (entry: string) => ({
      name: "norm",
      source: normSource,
      entry,
      constants: { LANES: this.device.traits.software ? 8 : 64 },
    });
    const { clip } = this.options;
    const { size } = this.gradients.parameters;
    const partial = windows.map(
      ({ offset, count }, i): Dispatch => ({
        kernel: kernel("partial"),
        params: { count: Math.min(count, size - offset), first: i * PARTIALS, clip, limit: LIMIT },
        output: whole(this.partials),
        inputs: [this.gradients.slice(offset, count)],
        workgroups: [PARTIALS, 1, 1],
      }),
    );
    const finish: Dispatch = {
      kernel: kernel("finish"),
      params: { count: windows.length * PARTIALS, first: 0, clip, limit: LIMIT },
      output: whole(this.stats),
      inputs: [whole(this.partials), whole(this.schedule), this.tail],
      workgroups: [1, 1, 1],
    };
    return [...partial, finish];
  }

  private adamWindow(weights: Slab, { offset, count }: Window): Dispatch[] {
    const { parameters } = weights;
    const here = Math.min(count, parameters.size - offset);
    if (here <= 0) return [];
    const { beta1, beta2, epsilon, weightDecay } = this.options;
    const decayed = Math.max(0, Math.min(here, parameters.decayed - offset));
    const part = (slab: Slab) => slab.slice(offset, here);
    return [
      {
        kernel: { name: "adamw", source: adamwSource, entry: "forward" },
        params: { count: here, decayed, beta1, beta2, epsilon, decay: weightDecay },
        output: part(weights),
        inputs: [part(this.first), part(this.second), part(this.gradients), whole(this.stats), whole(this.schedule)],
        workgroups: linear(here, 256),
      },
    ];
  }

  [Symbol.dispose](): void {
    this.zeroing[Symbol.dispose]();
    this.updating[Symbol.dispose]();
    for (const slab of [this.gradients, this.first, this.second]) slab[Symbol.dispose]();
    for (const buffer of [this.schedule, this.stats, this.partials]) buffer.free();
  }
}

/** Runs of at most what one binding may hold. */
function windowsOf(size: number, maxBindingBytes: number): Window[] {
  const most = Math.floor(maxBindingBytes / 256) * 64;
  return Array.from({ length: Math.ceil(size / most) }, (_, i) => ({
    offset: i * most,
    count: Math.min(most, size - i * most),
  }));
}
