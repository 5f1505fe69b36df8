/** A graph made into buffers and one recording: compiled once, then only fed, run and read. */
import type { Bytes, Device, DeviceBuffer, Dispatch, Recording, Slice } from "../device/device";
import { bytesOf, isHalf, isQuantised, wordsOf } from "../tensor/stored";
import type { Launch, Tensor } from "../tensor/tensor";
import { isFed, type Plan, plan } from "./plan";
import type { Scratch } from "./scratch";

export interface ProgramOptions {
  /** Memory from outside for inputs of the graph: weights, gradient slices, caches. */
  readonly bind?: ReadonlyMap<Tensor, Slice>;
  /** Where everything but inputs lives; of its own if absent. Then outputs stand only until another program runs. */
  readonly scratch?: Scratch;
}

export class Program implements Disposable {
  readonly plan: Plan;
  private readonly device: Device;
  private readonly bind: ReadonlyMap<Tensor, Slice>;
  private readonly owned: DeviceBuffer[] = [];
  /** Of each slot. */
  private readonly buffers: readonly DeviceBuffer[];
  private readonly recording: Recording;
  private readonly unfed: Set<Tensor>;
  /** Those that were asked for, since steps ask again and again. */
  private readonly slices = new Map<Tensor, Slice>();

  constructor(device: Device, outputs: readonly Tensor[], { bind = new Map(), scratch }: ProgramOptions = {}) {
    this.device = device;
    this.bind = bind;
    this.plan = plan(outputs, new Set(bind.keys()));
    this.unfed = new Set(this.plan.nodes.filter((node) => isFed(node) && !bind.has(node)));
    try {
      const { slotSizes, fedSlots } = this.plan;
      const launches = this.plan.nodes.map((node) => this.launchesOf(node));
      const work = Math.max(0, ...launches.flat().map(({ writesWork = 0 }) => writesWork));
      const sizes = work > 0 ? [...slotSizes, work] : slotSizes;
      const own = scratch ? sizes.slice(0, fedSlots) : sizes;
      for (const size of own) this.owned.push(device.allocate(4 * size));
      this.buffers = scratch ? [...this.owned, ...scratch.take(sizes.slice(fedSlots))] : this.owned;
      this.recording = device.record(this.plan.nodes.flatMap((node, i) => this.dispatchesOf(node, launches[i]!)));
    } catch (error) {
      for (const buffer of this.owned) buffer.free();
      throw error;
    }
  }

  get dispatches(): number {
    return this.recording.dispatches;
  }

  private launchesOf({ dispatch }: Tensor): readonly Launch[] {
    const launches = dispatch?.(this.device.traits) ?? [];
    return Array.isArray(launches) ? launches : [launches as Launch];
  }

  private dispatchesOf(node: Tensor, launches: readonly Launch[]): Dispatch[] {
    const all = node.inPlace ? node.inputs.slice(1) : node.inputs;
    let work: Slice | undefined;
    return launches.map(({ readsStored, writesWork, reads, ...launch }) => {
      const inputs = reads?.map((which) => (which === "work" ? which : all[which]!)) ?? all;
      for (const x of inputs) {
        if (x !== "work" && !readsStored && (isHalf(x.dtype) || isQuantised(x.dtype)))
          throw new Error(`${node.name} cannot read ${x.name} in ${x.dtype}`);
      }
      const bound = inputs.map((x) => (x === "work" ? work! : this.slice(x)));
      if (!writesWork) return { ...launch, output: this.slice(node), inputs: bound };
      work = { buffer: this.buffers[this.plan.slotSizes.length]!, offsetBytes: 0, sizeBytes: 4 * writesWork };
      return { ...launch, output: work, inputs: bound };
    });
  }

  /** Where a tensor of this graph lives. */
  slice(tensor: Tensor): Slice {
    let slice = this.slices.get(tensor);
    if (!slice) {
      slice = this.placed(tensor);
      this.slices.set(tensor, slice);
    }
    return slice;
  }

  private placed(tensor: Tensor): Slice {
    const place = this.plan.places.get(tensor);
    if (!place) throw new Error(`${tensor.name} is not part of this program`);
    const bound = this.bind.get(place.root);
    const buffer = bound?.buffer ?? this.buffers[this.plan.slots.get(place.root)!]!;
    const { dtype, shape } = place.root;
    if (isQuantised(dtype))
      return { buffer, offsetBytes: bound?.offsetBytes ?? 0, sizeBytes: 4 * wordsOf(shape, dtype) };
    const width = bytesOf(dtype);
    return {
      buffer,
      offsetBytes: (bound?.offsetBytes ?? 0) + width * place.offset,
      sizeBytes: Math.max(4, 4 * Math.ceil((width * place.size) / 4)),
    };
  }

  feed(tensor: Tensor, data: Bytes): void {
    const place = this.plan.places.get(tensor);
    const size = isQuantised(tensor.dtype) ? wordsOf(tensor.shape, tensor.dtype) : (place?.size ?? -1);
    if (data.length !== size) throw new Error(`feed ${tensor.name}: got ${data.length} values, expected ${size}`);
    this.device.upload(this.slice(tensor), data);
    this.unfed.delete(tensor);
  }

  run(): void {
    if (this.unfed.size)
      throw new Error(`run: nothing was fed to ${[...this.unfed].map(({ name }) => name).join(", ")}`);
    this.recording.replay();
  }

  /** Copies an output's values; waits for the device. */
  read(tensor: Tensor): Float32Array;
  read(tensor: Tensor, into: Uint32Array): Uint32Array;
  read(tensor: Tensor, into: Float32Array | Uint32Array = new Float32Array(this.plan.places.get(tensor)?.size ?? 0)) {
    this.device.download(this.slice(tensor), into);
    return into;
  }

  [Symbol.dispose](): void {
    this.recording[Symbol.dispose]();
    for (const buffer of this.owned) buffer.free();
  }
}
